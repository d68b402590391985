// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Consortium} from "../../../contracts/Consortium.sol";
import {DstackApp} from "../../../contracts/DstackApp.sol";
import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";

/// @dev Cheat codes of the prover. `etch` gives an account code without running its constructor, so that its
/// storage can be anything at all.
interface Prover {
    function etch(address target, bytes calldata code) external;
    function prank(address sender) external;
    function assume(bool condition) external pure;
    function load(address target, bytes32 slot) external view returns (bytes32);
}

interface Symbols {
    function enableSymbolicStorage(address target) external;
    function createBytes(uint256 length, string calldata name) external pure returns (bytes memory);
    function createBytes32(string calldata name) external pure returns (bytes32);
    function createAddress(string calldata name) external pure returns (address);
    function createUint256(string calldata name) external pure returns (uint256);
}

/// @dev A consortium that one can look into. It adds views and nothing else.
contract Glass is Consortium {
    Prover private constant vm = Prover(address(uint160(uint256(keccak256("hevm cheat code")))));

    constructor(address app_, address ledger_, Owner[] memory owners_, uint8 threshold_)
        Consortium(app_, ledger_, owners_, threshold_)
    {}

    function standing() external view returns (Standing memory) {
        return _standing;
    }

    function votesOf(bytes32 proposal) external view returns (Votes memory) {
        return _votesOf(proposal);
    }

    /// @dev Zero for who is no owner. Q1 as the seats have it: an entry of today's roster is one of 16 seats.
    function bitOf(address account) external view returns (uint256) {
        try this.bitOrRevert(account) returns (uint256 bit) {
            vm.assume(bit != 0 && bit < 1 << 16);
            return bit;
        } catch (bytes memory because) {
            vm.assume(bytes4(because) == ConsortiumNotOwner.selector);
            return 0;
        }
    }

    function bitOrRevert(address account) external view returns (uint256) {
        return _bit(account);
    }

    function count(uint256 bitmap) external pure returns (uint256) {
        return _count(bitmap);
    }

    /// @dev Zero for an unknown dataset.
    function holderOf(bytes32 id) external view returns (address) {
        try this.holderOrRevert(id) returns (address holder) {
            return holder;
        } catch {
            return address(0);
        }
    }

    function holderOrRevert(bytes32 id) external view returns (address) {
        return _datasetOwner(id);
    }
}

/// @dev A consortium and its app whose storage is arbitrary, but for what a check assumes.
abstract contract AnyState {
    Prover internal constant vm = Prover(address(uint160(uint256(keccak256("hevm cheat code")))));
    Symbols internal constant svm = Symbols(address(uint160(uint256(keccak256("svm cheat code")))));

    /// @dev Where `_votes`, `_datasets` and `_composeHash` lie. `checkSlots` holds them against what real calls
    /// write.
    bytes32 internal constant VOTES = bytes32(uint256(5));
    bytes32 internal constant DATASETS = bytes32(uint256(7));
    bytes32 internal constant COMPOSE_HASH = bytes32(uint256(12));

    Glass internal room = Glass(address(0xC0));
    DstackApp internal app = DstackApp(address(0xA0));

    function setUp() public virtual {
        DstackApp realApp = new DstackApp(false);
        IConsortium.Owner[] memory owners = new IConsortium.Owner[](1);
        owners[0] = IConsortium.Owner(address(this), "owner", "DE", 2);
        Glass real = new Glass(address(realApp), address(this), owners, 1);
        checkSlots(real, realApp);
        vm.etch(address(app), address(realApp).code);
        vm.etch(address(room), address(new Glass(address(app), address(this), owners, 1)).code);
        svm.enableSymbolicStorage(address(room));
        svm.enableSymbolicStorage(address(app));
        vm.assume(app.owner() == address(room));
        // A trillion revocations; the only thing that ends them.
        vm.assume(room.standing().epoch < type(uint40).max - 1);
    }

    function checkSlots(Glass real, DstackApp realApp) private {
        realApp.initialize(address(real), true, true, false, 0, 0);
        real.registerDataset("data", "i", "k", "s", 1, "n");
        IConsortium.Study memory s;
        s.composeHash = s.outputHash = s.privacyHash = "recipe";
        s.datasets = new bytes32[](1);
        s.datasets[0] = "data";
        s.epsilonMicro = s.maxRuns = 1;
        s.expiry = uint64(block.timestamp + 1);
        s.epoch = 1;
        real.approve(s);
        assert(vm.load(address(real), COMPOSE_HASH) == "recipe");
        bytes32 dataset = keccak256(abi.encode(bytes32("data"), DATASETS));
        assert(vm.load(address(real), dataset) == bytes32(uint256(uint160(address(this)))));
        assert(bytes1(vm.load(address(real), bytes32(uint256(dataset) + 5))) == "n");
        real.withdraw("proposal");
        bytes32 slot = keccak256(abi.encode(bytes32("proposal"), VOTES));
        assert(uint256(vm.load(address(real), slot)) == (1 << 32 | 1 << 16));
    }

    /// @dev In which epoch the votes for a proposal were last written.
    function epochOfVotes(bytes32 proposal) internal view returns (uint256) {
        return uint40(uint256(vm.load(address(room), keccak256(abi.encode(proposal, VOTES)))) >> 32);
    }

    function composeHash() internal view returns (bytes32) {
        return vm.load(address(room), COMPOSE_HASH);
    }

    /// @dev Consortium I5 as it stands before a call: of all hashes, of which `any` is one, the app allows at
    /// most the one that the consortium noted; and never zero, which it refuses.
    function assumeOneHash(bytes32 any) internal view {
        vm.assume(!app.allowedComposeHashes(any) || any == composeHash() && any != 0);
    }

    /// @dev A dataset that nobody registered has no name.
    function assumeNoName(bytes32 id) internal view {
        bytes32 slot = keccak256(abi.encode(id, DATASETS));
        vm.assume(vm.load(address(room), bytes32(uint256(slot) + 5)) == 0 || room.holderOf(id) != address(0));
    }

    /// @dev The platform before lists neither images nor devices: the prover cannot copy a list without end.
    function assumeNoMachines() internal view {
        vm.assume(vm.load(address(room), bytes32(uint256(COMPOSE_HASH) + 4)) == 0);
        vm.assume(vm.load(address(room), bytes32(uint256(COMPOSE_HASH) + 5)) == 0);
    }
}
