// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Consortium} from "../../../contracts/Consortium.sol";
import {DstackApp} from "../../../contracts/DstackApp.sol";
import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {ConsortiumTypes} from "../../../contracts/libraries/ConsortiumTypes.sol";

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
}

/// @dev A registry in which anybody holds anything, as its storage has it.
contract AnyRegistry {
    mapping(bytes32 dataset => address) private _holders;

    function holderOf(bytes32 dataset, uint32) external view returns (address) {
        return _holders[dataset];
    }
}

/// @dev A consortium that one can look into, and whose seats one can change without votes.
contract Glass is Consortium {
    constructor(address app_, address ledger_, Owner[] memory owners_, uint8 threshold_)
        Consortium(app_, ledger_, owners_, threshold_)
    {}

    function seat(bytes32 id, Roster calldata r) external {
        _seat(id, r);
    }

    function votesOf(bytes32 proposal) external view returns (Votes memory) {
        return _votesOf(proposal);
    }

    function ones(uint256 bitmap) external pure returns (uint256) {
        return _ones(bitmap);
    }

    function idOf(Study calldata s) external pure returns (bytes32) {
        return ConsortiumTypes.id(s);
    }

    function idOf(Platform calldata p, Validity calldata t) external pure returns (bytes32) {
        return ConsortiumTypes.id(p, t);
    }

    function idOf(Machines calldata m, Validity calldata t) external pure returns (bytes32) {
        return ConsortiumTypes.id(m, t);
    }

    function idOf(Roster calldata r, Validity calldata t) external pure returns (bytes32) {
        return ConsortiumTypes.id(r, t);
    }
}

/// @dev A consortium, its app and its registry whose storage is arbitrary, but for what a check assumes.
abstract contract AnyState {
    Prover internal constant vm = Prover(address(uint160(uint256(keccak256("hevm cheat code")))));
    Symbols internal constant svm = Symbols(address(uint160(uint256(keccak256("svm cheat code")))));

    /// @dev Where these lie. `checkSlots` holds them against what real calls write.
    uint256 internal constant OWNERS = 5;
    uint256 internal constant TENANCIES = 6;
    uint256 internal constant LINEAGES = 9;
    uint256 internal constant VOTES = 12;
    uint256 internal constant COMPOSE_HASH = 14;
    uint256 internal constant PLATFORM = 15;

    Glass internal room = Glass(address(0xC0));
    DstackApp internal app = DstackApp(address(0xA0));
    AnyRegistry internal registry = AnyRegistry(address(0x4E));

    function setUp() public virtual {
        DstackApp realApp = new DstackApp(false);
        IConsortium.Owner[] memory owners = new IConsortium.Owner[](1);
        owners[0] = IConsortium.Owner(address(this), "DE", 2, "owner");
        vm.etch(address(registry), address(new AnyRegistry()).code);
        checkSlots(new Glass(address(realApp), address(registry), owners, 1));
        vm.etch(address(app), address(realApp).code);
        vm.etch(address(room), address(new Glass(address(app), address(registry), owners, 1)).code);
        svm.enableSymbolicStorage(address(room));
        svm.enableSymbolicStorage(address(app));
        svm.enableSymbolicStorage(address(registry));
        vm.assume(app.owner() == address(room));
        // One a block at most: they do not come to their end.
        vm.assume(room.chronicle().steps < 1 << 63);
    }

    function checkSlots(Glass real) private {
        bytes32 line = vm.load(address(real), keccak256(abi.encode(bytes32("owner"), LINEAGES)));
        assert(line == bytes32(1 << 160 | uint256(uint160(address(this)))));
        uint256 owner = uint256(keccak256(abi.encode(uint256(0), OWNERS)));
        assert(vm.load(address(real), bytes32(owner + 1)) == "owner");
        bytes32 tenancies = keccak256(abi.encode(uint256(0), TENANCIES));
        assert(uint256(vm.load(address(real), tenancies)) == 1);
        bytes32 first = vm.load(address(real), keccak256(abi.encode(tenancies)));
        assert(first == bytes32(1 << 160 | uint256(uint160(address(this)))));
        real.withdraw("proposal");
        assert(real.heardAt("owner") == block.timestamp);
        bytes32 slot = keccak256(abi.encode(bytes32("proposal"), VOTES));
        assert(uint256(vm.load(address(real), slot)) == (1 << 32 | 1 << 16));
        IConsortium.Platform memory p;
        (p.gateRoot, p.gateSigner, p.gateCompose, p.policyHash) = ("r", address(1), "c", "p");
        IConsortium.Validity memory t;
        (t.expiry, t.follows) = (uint64(block.timestamp + 1), real.charter());
        real.adoptPlatform(p, t, new IConsortium.Signed[](0));
        assert(vm.load(address(real), bytes32(PLATFORM)) == "r");
    }

    /* WHAT IS ASSUMED OF THE STORAGE */

    /// @dev Seats S1, as SeatsProof has it: an account has one of 16 seats, or none.
    function bitOf(address account) internal view returns (uint256) {
        uint256 seat = room.seatOf(account);
        vm.assume(seat <= 16);
        return (1 << seat) >> 1;
    }

    /// @dev Counting bit by bit is dear for the prover: checks that count take rosters of up to four seats.
    /// `check_each_vote_counts_once` covers the counting itself for sixteen.
    function assumeFour(uint256 seats) internal pure {
        vm.assume(seats >> 4 == 0);
    }

    /// @dev Who holds one of the first four seats has held it since a change of seats that lies behind.
    function assumeHeld() internal view {
        uint256 roll = room.state().roll;
        for (uint256 i = 0; i < 4; ++i) {
            bytes32 all = keccak256(abi.encode(i, TENANCIES));
            uint256 length = uint256(vm.load(address(room), all));
            vm.assume(length != 0 && length < 1 << 24);
            bytes32 last = bytes32(uint256(keccak256(abi.encode(all))) + length - 1);
            vm.assume(uint24(uint256(vm.load(address(room), last)) >> 160) <= roll);
        }
    }

    /// @dev How the last study ended is written down, or it did not end before its time.
    function assumeSettled() internal view {
        vm.assume(room.state().ended == 0);
    }

    function composeHash() internal view returns (bytes32) {
        return vm.load(address(room), bytes32(COMPOSE_HASH));
    }

    /// @dev Consortium I5 as it stands before a call: of all hashes, of which `any` is one, the app allows at
    /// most the one that the consortium noted; and never zero, which it refuses.
    function assumeOneHash(bytes32 any) internal view {
        vm.assume(!app.allowedComposeHashes(any) || any == composeHash() && any != 0);
    }

    /// @dev The platform before lists neither images nor devices: the prover cannot copy a list without end.
    function assumeNoMachines() internal view {
        vm.assume(vm.load(address(room), bytes32(PLATFORM + 4)) == 0);
        vm.assume(vm.load(address(room), bytes32(PLATFORM + 5)) == 0);
    }

    /* WHAT A SIGNATURE IS OVER */

    /// @dev The digest of a struct hash; the types are written out here once more, so that the contract is not
    /// its own judge.
    function digestOf(bytes memory encoded) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", room.domainSeparator(), keccak256(encoded)));
    }
}
