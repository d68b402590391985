// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../../contracts/interfaces/ILedger.sol";
import {Room} from "./Room.sol";

/// @dev Owners, would-be owners, the gate, strangers and time, doing anything in any order. What is refused is
/// passed over. Beside the contracts stands a model of them, as simple as can be: who approved, withdrew and
/// revoked by name, and what was spent. Where the contracts do what the model does not allow, a flag is set.
contract Actors is Room {
    uint256 private constant PEOPLE = 6;
    uint256 private constant RECIPES = 3;
    uint256 private constant CONTENTS = 12;
    bytes4 private constant REVOKED = bytes4(keccak256("it was revoked, and here it is undone"));

    /* WHAT WENT WRONG */

    bool public pinnedWithoutQuorum;
    bool public pinnedWithoutRevoker;
    bool public pinnedLockedData;
    bool public pinnedTwice;
    bool public epochWentBack;
    bool public epochStoodStill;
    bool public datasetChangedHands;
    bool public runOpenedTwice;
    bool public runAnchoredTwice;
    bool public gapInReceipts;
    bool public anchoredForged;
    bool public anchoredLate;
    bool public foreignCap;
    bool public spentFell;

    /* HOW FAR IT CAME */

    uint256 public pins;
    uint256 public comebacks;
    uint256 public rotations;
    uint256 public adoptions;
    uint256 public withdrawals;
    uint256 public unpins;
    uint256 public anchored;
    uint256 public batches;

    /* THE MODEL */

    address[] private _people;
    uint256[] private _keys;
    bytes32[] private _datasets;
    mapping(bytes32 dataset => address) private _holder;
    /// @dev By keccak256(epoch, proposal, owner).
    mapping(bytes32 => bool) private _approved;
    mapping(bytes32 => bool) private _withdrawn;
    mapping(address => bool) private _revoking;
    mapping(bytes32 study => bool) private _wasPinned;
    mapping(bytes32 study => uint256[3]) private _spentByStudy;
    mapping(bytes32 dataset => uint256[3]) private _spentOn;
    mapping(uint64 number => bool) private _hasReceipt;
    IConsortium.Study private _active;
    ILedger.Opening[] private _openings;
    uint64 private _epoch;
    uint64 private _nonce;

    function start() external {
        setUp();
        _keys = [KEY_A, KEY_B, KEY_C, KEY_D, 0xE0, 0xF0];
        for (uint256 i = 0; i < PEOPLE; ++i) {
            _people.push(vm.addr(_keys[i]));
        }
        _datasets = ids(DATA_A, DATA_B, DATA_C);
        (_holder[DATA_A], _holder[DATA_B], _holder[DATA_C]) = (A, B, C);
        _epoch = room.epoch();
    }

    modifier watched() {
        _;
        uint64 epoch = room.epoch();
        if (epoch < _epoch) epochWentBack = true;
        _epoch = epoch;
        for (uint256 i = 0; i < _datasets.length; ++i) {
            bytes32 id = _datasets[i];
            if (room.dataset(id).owner != _holder[id]) datasetChangedHands = true;
        }
    }

    /* WHO AND WHAT */

    function person(uint256 seed) private view returns (address) {
        return _people[seed % PEOPLE];
    }

    function isOwner(address account) private view returns (bool) {
        IConsortium.Owner[] memory owners = room.owners();
        for (uint256 i = 0; i < owners.length; ++i) {
            if (owners[i].account == account) return true;
        }
        return false;
    }

    function recipe(uint256 seed) private pure returns (bytes32) {
        return bytes32(0x1000 + seed % RECIPES);
    }

    /// @dev One of a dozen contents, so that approvals meet.
    function content(uint256 seed) private view returns (IConsortium.Study memory s) {
        seed %= CONTENTS;
        s = study(recipe(seed));
        s.datasets = seed < 3 ? ids(DATA_A) : seed < 6 ? ids(DATA_B, DATA_C) : ids(DATA_A, DATA_C);
        if (seed > 9 && _datasets.length > 3) s.datasets = ids(_datasets[3]);
        s.expiry = uint64(block.timestamp / 10 days * 10 days + 20 days);
        // forge-lint: disable-next-line(unsafe-typecast)
        s.maxRuns = uint32(seed % 4 + 1);
        // forge-lint: disable-next-line(unsafe-typecast)
        s.epsilonMicro = uint64(1 + seed % 5 * CAP / 4);
        // forge-lint: disable-next-line(unsafe-typecast)
        s.deltaPico = uint64(seed % 3 * DELTA);
    }

    function roster(uint256 seed) private view returns (IConsortium.Owner[] memory owners, uint8 threshold) {
        uint256 count = 3 + seed % 3;
        owners = new IConsortium.Owner[](count);
        for (uint256 i = 0; i < count; ++i) {
            address account = _people[(seed / 8 + i) % PEOPLE];
            owners[i] = IConsortium.Owner(account, bytes32(uint256(uint160(account))), "DE", 2);
        }
        // Sometimes one too many, which is refused.
        threshold = uint8(1 + (seed / 64) % (count + 1));
    }

    function voteOf(bytes32 proposal, address owner) private view returns (bytes32) {
        return keccak256(abi.encode(room.epoch(), proposal, owner));
    }

    /* STUDIES */

    function act_approve(uint256 who, uint256 what) external watched {
        IConsortium.Study memory s = content(what);
        bytes32 vote = voteOf(room.hashStudy(s), person(who));
        vm.prank(person(who));
        try room.approve(s) {
            _approved[vote] = true;
            lookForPin(s);
        } catch {}
    }

    /// @dev By up to six signatures, some of which may be of an owner's who left, or withdrew.
    function act_approveSigned(uint8 mask, uint256 what) external watched {
        IConsortium.Study memory s = content(what);
        bytes32 id = room.hashStudy(s);
        // Half the time by all who are owners, which pins.
        if (mask & 0x40 != 0) mask = ownersMask();
        (address[] memory signers, bytes[] memory signatures) = gather(mask, s);
        bytes32[] memory votes = new bytes32[](signers.length);
        for (uint256 i = 0; i < signers.length; ++i) {
            votes[i] = voteOf(id, signers[i]);
        }
        vm.prank(stranger);
        try room.approveWithSignatures(s, signers, signatures) {
            for (uint256 i = 0; i < signers.length; ++i) {
                _approved[votes[i]] = true;
            }
            lookForPin(s);
        } catch {}
    }

    function ownersMask() private view returns (uint8 mask) {
        for (uint256 i = 0; i < PEOPLE; ++i) {
            // forge-lint: disable-next-line(incorrect-shift, unsafe-typecast)
            if (isOwner(_people[i])) mask |= uint8(1 << i);
        }
    }

    function gather(uint8 mask, IConsortium.Study memory s)
        private
        view
        returns (address[] memory signers, bytes[] memory signatures)
    {
        uint256 count = 0;
        for (uint256 i = 0; i < PEOPLE; ++i) {
            if (mask >> i & 1 == 1) ++count;
        }
        (signers, signatures) = (new address[](count), new bytes[](count));
        address last = address(0);
        for (uint256 n = 0; n < count; ++n) {
            // The next in the order of addresses.
            uint256 next = PEOPLE;
            for (uint256 i = 0; i < PEOPLE; ++i) {
                bool later = mask >> i & 1 == 1 && _people[i] > last;
                if (later && (next == PEOPLE || _people[i] < _people[next])) next = i;
            }
            last = signers[n] = _people[next];
            signatures[n] = sign(_keys[next], approvalDigest(last, s));
        }
    }

    /// @dev A pin that the model does not allow is told.
    function lookForPin(IConsortium.Study memory s) private {
        uint64 pinned = nonce();
        if (pinned == _nonce) return;
        if (pinned != _nonce + 1) pinnedTwice = true;
        _nonce = pinned;
        ++pins;
        bytes32 id = room.hashStudy(s);
        if (_wasPinned[id] || room.activeStudy() != id) pinnedTwice = true;
        _wasPinned[id] = true;

        IConsortium.Owner[] memory owners = room.owners();
        uint256 agreed = 0;
        bool back = false;
        for (uint256 i = 0; i < owners.length; ++i) {
            bool yes = agrees(id, owners[i].account);
            if (yes) ++agreed;
            if (_revoking[owners[i].account]) {
                back = true;
                if (!yes) pinnedWithoutRevoker = true;
                _revoking[owners[i].account] = false;
            }
        }
        if (back) ++comebacks;
        if (agreed < room.threshold()) pinnedWithoutQuorum = true;
        for (uint256 i = 0; i < s.datasets.length; ++i) {
            address holder = _holder[s.datasets[i]];
            if (!isOwner(holder)) pinnedLockedData = true;
            if (!agrees(id, holder)) pinnedWithoutQuorum = true;
        }
        _active = s;
    }

    function agrees(bytes32 proposal, address owner) private view returns (bool) {
        bytes32 vote = voteOf(proposal, owner);
        return _approved[vote] && !_withdrawn[vote];
    }

    function act_withdraw(uint256 who, uint256 what) external watched {
        bytes32 id = room.hashStudy(content(what));
        vm.prank(person(who));
        try room.withdraw(id) {
            _withdrawn[voteOf(id, person(who))] = true;
            ++withdrawals;
        } catch {}
    }

    function act_register(uint256 who, uint256 what) external watched {
        bytes32 id = what % 2 == 0 ? DATA_A : bytes32(0xD000 + what % 4);
        vm.prank(person(who));
        try room.registerDataset(id, "i", "k", "s", 1, numbered(what % 8)) {
            if (_holder[id] != address(0)) datasetChangedHands = true;
            _holder[id] = person(who);
            _datasets.push(id);
        } catch {}
    }

    /* STOPPING */

    function act_revoke(uint256 who, string calldata reason) external watched {
        // Rare, so that between two of them something can happen.
        if (who % 3 != 0) return;
        address owner = person(who / 3);
        uint64 epoch = room.epoch();
        vm.prank(owner);
        try room.revoke(reason) {
            if (room.epoch() != epoch + 1 || room.activeStudy() != 0) epochStoodStill = true;
            _revoking[owner] = true;
        } catch {}
    }

    function act_unpin() external watched {
        vm.prank(stranger);
        try room.unpin() {
            ++unpins;
        } catch {}
    }

    /* PLATFORM AND OWNERS */

    function act_adopt(uint256 who, uint256 what) external watched {
        if (what % 3 != 0) return;
        IConsortium.Platform memory p = platform();
        p.gateRoot = bytes32(what % 2 + 1);
        p.devices = what % 4 == 0 ? ids(DEVICE) : ids(DEVICE, bytes32(uint256(0xDE2)));
        uint64 epoch = room.epoch();
        vm.prank(person(who));
        try room.adoptPlatform(p) {
            if (room.epoch() != epoch) ++adoptions;
            if (room.epoch() != epoch && room.activeStudy() != 0) epochStoodStill = true;
        } catch {}
    }

    function act_changeOwners(uint256 who, uint256 what) external watched {
        // One of a few at a time, so that votes meet.
        if (what % 3 != 0) return;
        (IConsortium.Owner[] memory owners, uint8 threshold) = roster(uint256(room.epoch()) * 7 + what % 2);
        uint64 epoch = room.epoch();
        vm.prank(person(who));
        try room.changeOwners(owners, threshold) {
            if (room.epoch() != epoch) ++rotations;
            if (room.epoch() != epoch && room.activeStudy() != 0) epochStoodStill = true;
        } catch {}
    }

    /* LEDGER */

    function act_setCap(uint256 who, uint256 which, uint48 epsilon, uint48 delta, uint32 runs)
        external
        watched
    {
        bytes32 id = _datasets[which % _datasets.length];
        ILedger.Cap memory cap = ILedger.Cap(epsilon % (3 * CAP), delta % (3 * DELTA_CAP), runs % 40);
        // Mostly by the one who may.
        address by = who % 4 == 0 ? person(who / 4) : _holder[id];
        vm.prank(by);
        try ledger.setCap(address(room), id, cap) {
            if (by != _holder[id]) foreignCap = true;
        } catch {}
    }

    function act_open(uint64 epsilon, uint64 delta, uint8 again) external watched {
        ILedger.Run memory r = run();
        r.runId = bytes32(_openings.length + 1);
        // Some time, one that was opened before.
        bool old = again % 8 == 0 && _openings.length != 0;
        if (old) r.runId = bytes32(1 + again % _openings.length);
        (r.epsilonMicro, r.deltaPico) = (epsilon % (CAP / 3), delta % DELTA);
        ILedger.Opening memory o = openingOf(r, _active, uint64(_openings.length + 1));
        vm.prank(gate);
        try ledger.open(r, _active) {
            if (old) runOpenedTwice = true;
            _openings.push(o);
            tally(_spentByStudy[r.study], r);
            for (uint256 i = 0; i < _active.datasets.length; ++i) {
                tally(_spentOn[_active.datasets[i]], r);
            }
        } catch {}
    }

    function tally(uint256[3] storage spent, ILedger.Run memory r) private {
        spent[0] += r.epsilonMicro;
        spent[1] += r.deltaPico;
        spent[2] += 1;
    }

    function act_anchor(uint256 which, uint8 forge) external watched {
        if (_openings.length == 0) return;
        ILedger.Opening memory o = _openings[_openings.length - 1 - which % _openings.length % 8];
        ILedger.Receipt memory receipt = receiptOf(o);
        bytes32 digest = ledger.hashReceipt(receipt);
        bool forged = forge % 4 == 0;
        bytes memory signature = sign(forged ? KEY_GATE : KEY_ENCLAVE, digest);
        vm.prank(stranger);
        try ledger.anchor(receipt, o, signature) {
            if (forged) anchoredForged = true;
            ++anchored;
            noteReceipt(o.number, o.run.epoch);
        } catch {}
    }

    function act_batch(uint256 from, uint8 mask) external watched {
        uint256 total = _openings.length;
        if (total == 0) return;
        uint64[] memory all = new uint64[](8);
        uint256 size = 0;
        // Mostly the newest.
        uint256 first = from % 4 == 0 ? 1 + from / 4 % total : total > 8 ? total - 7 : 1;
        for (uint256 i = 0; i < 8 && first + i <= total; ++i) {
            // forge-lint: disable-next-line(unsafe-typecast)
            if (mask >> i & 1 == 1) all[size++] = uint64(first + i);
        }
        (uint64[] memory numbers, bytes32[] memory digests) = (new uint64[](size), new bytes32[](size));
        for (uint256 i = 0; i < size; ++i) {
            (numbers[i], digests[i]) = (all[i], keccak256(abi.encode(all[i])));
        }
        uint64 epoch = room.epoch();
        vm.prank(gate);
        try ledger.anchorBatch(address(room), epoch, numbers, digests) {
            ++batches;
            for (uint256 i = 0; i < size; ++i) {
                noteReceipt(numbers[i], epoch);
            }
        } catch {}
    }

    function noteReceipt(uint64 number, uint64 epoch) private {
        if (_hasReceipt[number]) runAnchoredTwice = true;
        _hasReceipt[number] = true;
        if (epoch != room.epoch()) anchoredLate = true;
    }

    function act_wait(uint32 seconds_) external watched {
        vm.warp(block.timestamp + seconds_ % 5 days);
        vm.roll(block.number + 1);
    }

    /* WHAT THE INVARIANTS LOOK AT */

    /// @dev What the contract says of the active study agrees with the model (Consortium I1).
    function activeHasItsQuorum() external view returns (bool) {
        bytes32 id = room.activeStudy();
        if (id == 0) return true;
        address[] memory approvals = room.approvals(id);
        for (uint256 i = 0; i < approvals.length; ++i) {
            if (!agrees(id, approvals[i]) || !isOwner(approvals[i])) return false;
        }
        return approvals.length >= room.threshold() && _active.epoch == room.epoch()
            && room.hashStudy(_active) == id;
    }

    /// @dev Of all recipes, the app allows the one that the state names (Consortium I5).
    function allowedIsPinned() external view returns (bool) {
        IConsortium.State memory state = room.state();
        for (uint256 i = 0; i < RECIPES; ++i) {
            if (app.allowedComposeHashes(recipe(i)) != (recipe(i) == state.composeHash)) return false;
        }
        return state.activeStudy == 0 ? state.composeHash == 0 : state.composeHash == _active.composeHash;
    }

    /// @dev Each owner tries, and what it did is undone (Consortium I2).
    function everyOwnerCanRevoke() external returns (bool) {
        IConsortium.Owner[] memory owners = room.owners();
        for (uint256 i = 0; i < owners.length; ++i) {
            try this.tryRevoking(owners[i].account) {
                return false;
            } catch (bytes memory answer) {
                // forge-lint: disable-next-line(unsafe-typecast)
                if (bytes4(answer) != REVOKED) return false;
            }
        }
        return true;
    }

    function tryRevoking(address owner) external {
        uint64 epoch = room.epoch();
        vm.prank(owner);
        room.revoke("from any state");
        bool stopped = room.epoch() == epoch + 1 && room.activeStudy() == 0 && room.revokedBy() == owner;
        for (uint256 i = 0; i < RECIPES; ++i) {
            if (app.allowedComposeHashes(recipe(i))) stopped = false;
        }
        bytes4 word = stopped ? REVOKED : bytes4(0);
        assembly {
            mstore(0, word)
            revert(0, 4)
        }
    }

    /// @dev Consortium I7.
    function rosterIsSound() external view returns (bool) {
        IConsortium.Owner[] memory owners = room.owners();
        uint8 k = room.threshold();
        if (k == 0 || k > owners.length || owners.length > 16) return false;
        for (uint256 i = 0; i < owners.length; ++i) {
            if (owners[i].account == address(0) || owners[i].id == 0) return false;
            for (uint256 j = 0; j < i; ++j) {
                if (owners[i].account == owners[j].account || owners[i].id == owners[j].id) return false;
            }
        }
        return true;
    }

    /// @dev Books and model agree, within caps and budgets (Ledger I1).
    function spentWithinCaps() external view returns (bool) {
        for (uint256 i = 0; i < _datasets.length; ++i) {
            ILedger.Budget memory b = ledger.budget(address(room), _datasets[i]);
            uint256[3] storage spent = _spentOn[_datasets[i]];
            if (b.epsilonSpent != spent[0] || b.deltaSpent != spent[1] || b.runs != spent[2]) return false;
            if (b.epsilonSpent > b.epsilonCap || b.deltaSpent > b.deltaCap || b.runs > b.runCap) {
                return false;
            }
        }
        bytes32 id = room.hashStudy(_active);
        ILedger.Spending memory s = ledger.spending(address(room), id);
        uint256[3] storage model = _spentByStudy[id];
        if (s.epsilonMicro != model[0] || s.deltaPico != model[1] || s.runs != model[2]) return false;
        return
            model[0] <= _active.epsilonMicro && model[1] <= _active.deltaPico && model[2] <= _active.maxRuns;
    }

    /// @dev Each run that was opened is in the books, once, and those with a receipt are marked (Ledger I2, I4).
    function booksAgree() external view returns (bool) {
        uint64 receipts = 0;
        for (uint64 i = 1; i <= _openings.length; ++i) {
            if (ledger.isAnchored(address(room), i) != _hasReceipt[i]) return false;
            if (_hasReceipt[i]) ++receipts;
            if (ledger.commitment(_openings[i - 1].run.runId) == 0) return false;
        }
        return ledger.runCount(address(room)) == _openings.length
            && ledger.receiptCount(address(room)) == receipts && ledger.batchCount(address(room)) == batches;
    }

    function appIsClosed() external view returns (bool) {
        return app.owner() == address(room) && app.pendingOwner() == address(0) && !app.allowAnyDevice()
            && app.requireTcbUpToDate();
    }
}
