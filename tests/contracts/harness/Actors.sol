// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "../../../contracts/interfaces/IConsortium.sol";
import {ILedger} from "../../../contracts/interfaces/ILedger.sol";
import {IRegistry} from "../../../contracts/interfaces/IRegistry.sol";
import {ADD_MACHINES, ADOPT_PLATFORM, APPROVE_STUDY, CHANGE_ROSTER, Room} from "./Room.sol";

/// @dev A consortium that nobody made: it calls whatever is asked live, and the stranger its gate.
contract Liar {
    address private immutable _gate;

    constructor(address gate) {
        _gate = gate;
    }

    function clearance(bytes32) external view returns (IConsortium.Clearance memory c) {
        (c.gateSigner, c.live) = (_gate, true);
    }
}

/// @dev Owners, would-be owners, the gate, strangers and time, doing anything in any order. What is refused is
/// passed over. Beside the contracts stands a model of them, as simple as can be: who sits under which id, who
/// approved, withdrew and revoked by id, and what was spent. Where the contracts do what the model does not
/// allow, a flag is set.
contract Actors is Room {
    uint256 private constant PEOPLE = 8;
    uint256 private constant IDS = 6;
    uint256 private constant RECIPES = 3;
    uint256 private constant CONTENTS = 12;
    bytes4 private constant REVOKED = bytes4(keccak256("it was revoked, and here it is undone"));

    /* WHAT WENT WRONG */

    bool public pinnedWithoutQuorum;
    bool public pinnedWithoutVeto;
    bool public pinnedLockedData;
    bool public pinnedTwice;
    bool public pinnedStale;
    bool public stopFailed;
    bool public vetoReplayed;
    bool public governedWithoutQuorum;
    bool public machineWithoutQuorum;
    bool public machineEndedSomething;
    bool public removedTooEarly;
    bool public seatMovedOtherwise;
    bool public impostorSeated;
    bool public datasetMovedOtherwise;
    bool public foreignDataset;
    bool public runOpenedTwice;
    bool public runAnchoredTwice;
    bool public anchoredForged;
    bool public anchoredLate;
    bool public overspent;
    bool public stepsRan;

    /* HOW FAR IT CAME */

    uint256 public pins;
    uint256 public comebacks;
    uint256 public rosters;
    uint256 public accusations;
    uint256 public silences;
    uint256 public spared;
    uint256 public adoptions;
    uint256 public additions;
    uint256 public withdrawals;
    uint256 public relayedStops;
    uint256 public handovers;
    uint256 public transfers;
    uint256 public unpins;
    uint256 public refusals;
    uint256 public foreignRuns;
    uint256 public anchored;
    uint256 public batches;

    /* THE MODEL: SEATS AND VOTES */

    struct Snapshot {
        bytes32 rosterDigest;
        bytes32 charter;
        bytes32 standing;
        bytes32 basis;
        uint64 pins;
        uint64 steps;
        uint64 block_;
    }

    address[] private _people;
    bytes32[] private _ids;
    /// @dev Who sits under an id; zero for nobody.
    mapping(bytes32 id => address) private _sits;
    /// @dev To whom an id belongs; zero before it sat.
    mapping(bytes32 id => address) private _lineage;
    mapping(bytes32 id => bool) private _veto;
    mapping(bytes32 id => address) private _offeredTo;
    mapping(bytes32 id => uint256) private _offeredFrom;
    /// @dev By keccak256(rosters, proposal, id).
    mapping(bytes32 => bool) private _approved;
    mapping(bytes32 => bool) private _withdrawn;
    mapping(bytes32 proposal => uint256) private _since;
    mapping(bytes32 id => uint256) private _heard;
    /// @dev Proposals for rosters and platforms that somebody voted for, and what they follow.
    bytes32[] private _governing;
    mapping(bytes32 proposal => bytes32) private _follows;
    mapping(bytes32 study => bool) private _wasPinned;
    bytes32[] private _approvers;
    uint256 private _rosters;
    IConsortium.Study private _live;
    IConsortium.Study private _stale;
    IConsortium.Signed private _used;
    bytes32 private _usedBy;
    Snapshot private _last;

    /* THE MODEL: DATASETS AND RUNS */

    Liar private _liar;
    bytes32[] private _datasets;
    mapping(bytes32 dataset => address) private _holder;
    mapping(bytes32 dataset => uint256) private _tenure;
    mapping(bytes32 dataset => address) private _dataTo;
    mapping(bytes32 dataset => uint256) private _dataFrom;
    /// @dev Epsilon, delta and runs.
    mapping(bytes32 dataset => uint256[3]) private _spentOn;
    mapping(bytes32 study => uint256[3]) private _spentByStudy;
    /// @dev By dataset, tenure, consortium and day.
    mapping(bytes32 => uint256[3]) private _spentOnDay;
    mapping(uint64 number => bool) private _hasReceipt;
    ILedger.Opening[] private _openings;
    /// @dev Ids of runs that were tried.
    uint256 private _drawn;

    function start() external {
        setUp();
        _people = [A, B, C, D, person(0xE0, "E"), person(0xF0, "F"), person(0x60, "G"), person(0x40, "H")];
        // forge-lint: disable-next-line(unsafe-typecast)
        _ids = [ID_A, ID_B, ID_C, ID_D, bytes32("lab-E"), bytes32("lab-F")];
        for (uint256 i = 0; i < 4; ++i) {
            (_sits[_ids[i]], _lineage[_ids[i]]) = (_people[i], _people[i]);
        }
        _datasets = [dataA, dataB, dataC];
        (_holder[dataA], _holder[dataB], _holder[dataC]) = (A, B, C);
        _liar = new Liar(stranger);
        _last = look();
    }

    function look() private view returns (Snapshot memory s) {
        (s.rosterDigest, s.charter) = (room.rosterDigest(), room.charter());
        (s.standing, s.basis, s.pins) = (room.standing(), room.basis(), nonce());
        (s.steps, s.block_) = (room.chronicle().steps, uint64(block.number));
    }

    modifier watched() {
        _;
        Snapshot memory s = look();
        // One step a block at most, and none without a change.
        if (s.steps > _last.steps + 1) stepsRan = true;
        if (s.standing != _last.standing && s.block_ != _last.block_ && s.steps == _last.steps) {
            stepsRan = true;
        }
        _last = s;
    }

    /* WHO AND WHAT */

    function person(uint256 seed) private view returns (address) {
        return _people[seed % PEOPLE];
    }

    /// @dev The id under which an account sits; zero for none.
    function idOf(address account) private view returns (bytes32) {
        for (uint256 i = 0; i < IDS; ++i) {
            if (_sits[_ids[i]] == account && account != address(0)) return _ids[i];
        }
        return 0;
    }

    function seated() private view returns (uint256 count) {
        for (uint256 i = 0; i < IDS; ++i) {
            if (_sits[_ids[i]] != address(0)) ++count;
        }
    }

    /// @dev The accounts among the people that the mask names, or all who sit.
    function crowd(uint8 mask, bool sitting) private view returns (address[] memory who) {
        who = new address[](PEOPLE);
        uint256 count = 0;
        for (uint256 i = 0; i < PEOPLE; ++i) {
            bool in_ = sitting ? idOf(_people[i]) != 0 : mask >> i & 1 == 1;
            if (in_) who[count++] = _people[i];
        }
        assembly {
            mstore(who, count)
        }
    }

    function recipe(uint256 seed) private pure returns (bytes32) {
        return bytes32(0x1000 + seed % RECIPES);
    }

    /// @dev Ten days from the beginning of these ten, so that votes of several days meet.
    function soon() private view returns (uint64) {
        return uint64(block.timestamp / 10 days * 10 days + 50 days);
    }

    /// @dev Mostly a dataset whose holder sits.
    function usable(uint256 seed) private view returns (bytes32 dataset) {
        for (uint256 i = 0; i < _datasets.length; ++i) {
            dataset = _datasets[(seed + i) % _datasets.length];
            if (seed % 7 == 6 || idOf(_holder[dataset]) != 0) return dataset;
        }
    }

    /// @dev One of a dozen contents, so that approvals meet.
    function content(uint256 seed) private view returns (IConsortium.Study memory s) {
        seed %= CONTENTS;
        (bytes32 one, bytes32 two) = (usable(seed), usable(seed / 2 + 1));
        bytes32[] memory data = one == two || seed % 3 == 0 ? ids(one) : ids(one, two);
        s = study(recipe(seed), data);
        // Some end soon, of themselves.
        s.expiry = seed % 4 == 1 ? uint64(block.timestamp / 1 days * 1 days + 2 days) : soon();
        // forge-lint: disable-next-line(unsafe-typecast)
        s.maxRuns = uint32(seed % 4 + 2);
        // forge-lint: disable-next-line(unsafe-typecast)
        s.epsilonMicro = uint64(1 + seed % 5 * CAP / 4);
        // forge-lint: disable-next-line(unsafe-typecast)
        s.deltaPico = uint64(seed % 3 * DELTA);
    }

    function voteOf(bytes32 proposal, bytes32 id) private view returns (bytes32) {
        return keccak256(abi.encode(_rosters, proposal, id));
    }

    function agrees(bytes32 proposal, bytes32 id) private view returns (bool) {
        bytes32 vote = voteOf(proposal, id);
        return _approved[vote] && !_withdrawn[vote];
    }

    function agreeing(bytes32 proposal) private view returns (uint256 count) {
        for (uint256 i = 0; i < IDS; ++i) {
            if (_sits[_ids[i]] != address(0) && agrees(proposal, _ids[i])) ++count;
        }
    }

    function threshold() private view returns (uint256) {
        return room.state().threshold;
    }

    /// @dev These voted: the caller if `by` is empty.
    function noteVotes(bytes32 proposal, address caller, IConsortium.Signed[] memory by) private {
        bool fresh = false;
        for (uint256 i = 0; i < by.length || by.length == 0; ++i) {
            bytes32 vote = voteOf(proposal, idOf(by.length == 0 ? caller : by[i].owner));
            if (!_approved[vote]) fresh = true;
            _approved[vote] = true;
            if (by.length == 0) break;
        }
        if (fresh) _since[proposal] = block.timestamp;
    }

    function noteGoverning(bytes32 proposal, bytes32 follows) private {
        if (_follows[proposal] == 0) _governing.push(proposal);
        _follows[proposal] = follows;
    }

    /// @dev Nobody, some, or all who sit sign; the caller sends it.
    function signatures(uint256 who, bytes memory kind, bytes32 proposal)
        private
        view
        returns (address caller, IConsortium.Signed[] memory by)
    {
        if (who % 3 == 0) return (person(who / 3), new IConsortium.Signed[](0));
        // forge-lint: disable-next-line(unsafe-typecast)
        return (stranger, signed(kind, proposal, crowd(uint8(who / 3), who % 3 == 1)));
    }

    /* STUDIES */

    function act_approve(uint256 who, uint256 what) external watched {
        IConsortium.Study memory s = content(what);
        // Some time, what was approved before a revocation.
        if (what % 16 == 15 && _stale.composeHash != 0) s = _stale;
        bytes32 id = idOf(s);
        bytes32 basis = room.basis();
        (address caller, IConsortium.Signed[] memory by) = signatures(who, APPROVE_STUDY, id);
        vm.prank(caller);
        try room.approve(s, by) {
            if (s.basis != basis) pinnedStale = true;
            noteVotes(id, caller, by);
            lookForPin(s);
        } catch {}
    }

    /// @dev A pin that the model does not allow is told.
    function lookForPin(IConsortium.Study memory s) private {
        uint64 count = nonce();
        if (count == _last.pins) return;
        bytes32 id = idOf(s);
        (bytes32 pinned,) = room.pinned();
        if (count != _last.pins + 1 || _wasPinned[id] || pinned != id) pinnedTwice = true;
        _wasPinned[id] = true;
        ++pins;

        bool back = false;
        delete _approvers;
        for (uint256 i = 0; i < IDS; ++i) {
            bytes32 each = _ids[i];
            if (_sits[each] == address(0)) continue;
            bool yes = agrees(id, each);
            if (yes) _approvers.push(each);
            if (!_veto[each]) continue;
            back = true;
            if (!yes) pinnedWithoutVeto = true;
            _veto[each] = false;
        }
        if (back) ++comebacks;
        if (agreeing(id) < threshold()) pinnedWithoutQuorum = true;
        for (uint256 i = 0; i < s.datasets.length; ++i) {
            bytes32 holder = idOf(_holder[s.datasets[i]]);
            if (holder == 0) pinnedLockedData = true;
            if (!agrees(id, holder)) pinnedWithoutQuorum = true;
        }
        _live = s;
    }

    function act_withdraw(uint256 who, uint256 what) external watched {
        bytes32 proposal = idOf(content(what));
        if (what % 2 == 0 && _governing.length != 0) {
            proposal = _governing[_governing.length - 1 - what / 2 % _governing.length % 4];
        }
        address owner = person(who);
        bytes32 id = idOf(owner);
        bool relayed = what % 5 == 0;
        (IConsortium.Votes memory v,) = room.votes(proposal);
        IConsortium.Signed memory by = signedWithdrawal(owner, proposal);
        vm.prank(relayed ? stranger : owner);
        (bool done,) = address(room)
            .call(
                relayed
                    ? abi.encodeCall(room.withdrawWithSignature, (proposal, by))
                    : abi.encodeCall(room.withdraw, (proposal))
            );
        if (!done) return;
        _withdrawn[voteOf(proposal, id)] = true;
        if (!relayed || v.since != 0) _heard[id] = block.timestamp;
        ++withdrawals;
    }

    /* STOPPING */

    function act_revoke(uint256 who, string calldata reason) external watched {
        // Rare, so that between two of them something can happen.
        if (who % 3 != 0) return;
        address owner = person(who / 3);
        IConsortium.Study memory before = content(who);
        vm.prank(owner);
        try room.revoke(reason) {
            noteStop(owner, before);
        } catch {}
    }

    /// @dev By a signature that the stranger hands in; half the time one that was used.
    function act_revokeSigned(uint256 who) external watched {
        if (who % 5 != 0) return;
        address owner = person(who / 5);
        bytes32 id = idOf(owner);
        bool again = who % 2 == 0 && _usedBy != 0;
        IConsortium.Signed memory by =
            again ? _used : signedRevocation(owner, "relayed", id == 0 ? 0 : room.returnsOf(id));
        IConsortium.Study memory before = content(who);
        vm.prank(stranger);
        try room.revokeWithSignature("relayed", by) {
            // An account that sits under another name meanwhile is another party.
            if (again && idOf(by.owner) == _usedBy) vetoReplayed = true;
            ++relayedStops;
            (_used, _usedBy) = (by, idOf(by.owner));
            noteStop(by.owner, before);
        } catch {}
    }

    function noteStop(address owner, IConsortium.Study memory before) private {
        _veto[idOf(owner)] = true;
        _stale = before;
        Snapshot memory s = look();
        if (room.isLive(idOf(_live)) || s.standing == _last.standing || s.basis == _last.basis) {
            stopFailed = true;
        }
        if (s.rosterDigest != _last.rosterDigest || s.charter != _last.charter) governedWithoutQuorum = true;
    }

    function act_unpin() external watched {
        vm.prank(stranger);
        try room.unpin() {
            ++unpins;
        } catch {}
    }

    /* GOVERNING */

    function act_platform(uint256 who, uint256 what) external watched {
        if (what % 3 != 0) return;
        IConsortium.Platform memory p = platform();
        p.gateRoot = bytes32(what % 2 + 1);
        p.devices = what % 4 == 0 ? ids(DEVICE) : ids(DEVICE, bytes32(uint256(0xDE2)));
        IConsortium.Validity memory t = IConsortium.Validity(soon(), room.charter());
        bytes32 id = idOf(p, t);
        (address caller, IConsortium.Signed[] memory by) = signatures(who, ADOPT_PLATFORM, id);
        vm.prank(caller);
        try room.adoptPlatform(p, t, by) {
            noteVotes(id, caller, by);
            noteGoverning(id, t.follows);
            if (room.charter() == t.follows) return;
            ++adoptions;
            if (agreeing(id) < threshold()) governedWithoutQuorum = true;
            if (room.isLive(idOf(_live))) governedWithoutQuorum = true;
        } catch {}
    }

    function act_machines(uint256 who, uint256 what) external watched {
        if (what % 2 != 0) return;
        IConsortium.Machines memory m;
        m.osImages = ids(bytes32(0x1111 + what % 3));
        m.devices = what % 4 == 0 ? ids() : ids(bytes32(0xDE5 + what % 3));
        IConsortium.Validity memory t = IConsortium.Validity(soon(), room.charter());
        bytes32 id = idOf(m, t);
        (address caller, IConsortium.Signed[] memory by) = signatures(who, ADD_MACHINES, id);
        uint256 images = room.platform().osImages.length;
        bool live_ = room.isLive(idOf(_live));
        vm.prank(caller);
        try room.addMachines(m, t, by) {
            noteVotes(id, caller, by);
            if (room.platform().osImages.length == images) return;
            ++additions;
            bool all = agreeing(id) >= threshold();
            for (uint256 i = 0; live_ && i < _approvers.length; ++i) {
                if (!agrees(id, _approvers[i])) all = false;
            }
            if (!all || _wasPinned[id]) machineWithoutQuorum = true;
            // Once, whoever hands the same in again.
            _wasPinned[id] = true;
            bool same = room.standing() == _last.standing && room.charter() == t.follows;
            if (!same || live_ != room.isLive(idOf(_live))) machineEndedSomething = true;
            if (room.basis() == _last.basis) machineWithoutQuorum = true;
        } catch {}
    }

    /// @dev One leaves, one joins, both or neither; some time under another's account.
    function roster(uint256 seed) private view returns (IConsortium.Roster memory r) {
        (bytes32 leaves, bytes32 joins) = (_ids[seed / 4 % IDS], _ids[seed / 32 % IDS]);
        uint256 count = seated();
        if (seed % 4 < 2 && _sits[leaves] != address(0) && count > 2) {
            r.remove = ids(leaves);
            --count;
        }
        if (seed % 4 > 0 && (_sits[joins] == address(0) || joins == leaves)) {
            r.add = new IConsortium.Owner[](1);
            address account = _lineage[joins];
            if (account == address(0) || seed % 11 == 0) account = _people[seed / 32 % IDS];
            r.add[0] = member(account, joins);
            ++count;
        }
        // Sometimes one too many, which is refused.
        // forge-lint: disable-next-line(unsafe-typecast)
        r.threshold = uint8(seed % 5 < 2 ? count : 1 + seed / 5 % (count + 1));
    }

    function act_roster(uint256 who, uint256 what) external watched {
        if (what % 2 != 0) return;
        // One of a few at a time, so that votes meet.
        IConsortium.Roster memory r = roster(_rosters * 37 + soon() / 10 days * 5 + what / 2 % 3);
        IConsortium.Validity memory t = IConsortium.Validity(soon(), room.rosterDigest());
        bytes32 id = idOf(r, t);
        (address caller, IConsortium.Signed[] memory by) = signatures(who, CHANGE_ROSTER, id);
        vm.prank(caller);
        try room.changeRoster(r, t, by) {
            noteVotes(id, caller, by);
            noteGoverning(id, t.follows);
            if (room.rosterDigest() == t.follows) return;
            ++rosters;
            if (agreeing(id) < _threshold) governedWithoutQuorum = true;
            noteRoster(id, r);
        } catch {}
    }

    /// @dev The threshold as the model has it: that of the roster that sits.
    uint256 private _threshold = 2;

    function noteRoster(bytes32 id, IConsortium.Roster memory r) private {
        if (room.rosterDigest() != id || room.isLive(idOf(_live))) governedWithoutQuorum = true;
        for (uint256 i = 0; i < r.remove.length; ++i) {
            delete _sits[r.remove[i]];
            delete _offeredTo[r.remove[i]];
        }
        for (uint256 i = 0; i < r.add.length; ++i) {
            (bytes32 joins, address account) = (r.add[i].id, r.add[i].account);
            if (_lineage[joins] != address(0) && _lineage[joins] != account) impostorSeated = true;
            (_sits[joins], _lineage[joins]) = (account, account);
        }
        _threshold = r.threshold;
        ++_rosters;
    }

    uint256 private _accused;
    uint64 private _accusedUntil;

    /// @dev One leaves, without a quorum.
    function silence(uint256 what) private view returns (IConsortium.Roster memory r) {
        r.remove = ids(_ids[what % IDS]);
        uint256 left = seated() - 1;
        // forge-lint: disable-next-line(unsafe-typecast)
        r.threshold = uint8(left < _threshold ? left : _threshold);
    }

    /// @dev All others who sit, or some of them, want one out.
    function act_accuse(uint256 who, uint256 what) external watched {
        IConsortium.Roster memory r = silence(what);
        IConsortium.Validity memory t = IConsortium.Validity(soon(), room.rosterDigest());
        bytes32 id = idOf(r, t);
        address[] memory others = crowd(0, true);
        uint256 count = 0;
        for (uint256 i = 0; i < others.length; ++i) {
            if (idOf(others[i]) != r.remove[0] && (who % 4 != 0 || i % 2 == 0)) others[count++] = others[i];
        }
        assembly {
            mstore(others, count)
        }
        // With a threshold that all of them reach it would be an ordinary change.
        if (count == 0 || count >= _threshold) return;
        IConsortium.Signed[] memory by = signed(CHANGE_ROSTER, id, others);
        vm.prank(stranger);
        try room.changeRoster(r, t, by) {
            noteVotes(id, stranger, by);
            noteGoverning(id, t.follows);
            if (room.rosterDigest() != t.follows) {
                // Who is accused had voted for it, so that it was an ordinary change.
                if (agreeing(id) < _threshold) governedWithoutQuorum = true;
                return noteRoster(id, r);
            }
            (_accused, _accusedUntil) = (what, t.expiry);
            ++accusations;
            // Some time, nobody says a word for a month.
            if (who % 4 == 1) later(30 days);
        } catch {}
    }

    /// @dev Mostly who was accused last.
    function act_removeSilent(uint256 what, uint8 back) external watched {
        bool last = back % 4 != 0;
        IConsortium.Roster memory r = silence(last ? _accused : what);
        uint64 expiry = last ? _accusedUntil : soon() - back % 5 * 10 days;
        IConsortium.Validity memory t = IConsortium.Validity(expiry, room.rosterDigest());
        bytes32 id = idOf(r, t);
        bool due = isDue(id, r.remove[0]);
        bool heard = _heard[r.remove[0]] >= _since[id];
        vm.prank(stranger);
        try room.removeSilent(r, t) {
            ++silences;
            if (!due || heard) removedTooEarly = true;
            noteRoster(id, r);
        } catch {
            if (due && heard) ++spared;
        }
    }

    /// @dev Whether one may be removed as silent, if it was not heard.
    function isDue(bytes32 id, bytes32 leaves) private view returns (bool) {
        uint256 count = 0;
        for (uint256 i = 0; i < IDS; ++i) {
            if (_sits[_ids[i]] == address(0)) continue;
            if (agrees(id, _ids[i])) ++count;
            else if (_ids[i] != leaves) return false;
        }
        if (_withdrawn[voteOf(id, leaves)] || 2 * count < seated()) return false;
        // forge-lint: disable-next-line(block-timestamp)
        return block.timestamp >= _since[id] + 30 days;
    }

    /* SEATS */

    function act_offerSeat(uint256 who, uint256 to) external watched {
        bytes32 id = idOf(person(who));
        vm.prank(person(who));
        try room.offerSeat(person(to)) {
            if (_offeredTo[id] == person(to)) return;
            (_offeredTo[id], _offeredFrom[id]) = (person(to), block.timestamp + 2 days);
        } catch {}
    }

    function act_acceptSeat(uint256 who, uint256 from) external watched {
        address owner = person(from);
        bytes32 id = idOf(owner);
        // Mostly by the one who may.
        address to = who % 4 == 0 || _offeredTo[id] == address(0) ? person(who / 4) : _offeredTo[id];
        vm.prank(to);
        try room.acceptSeat(owner) {
            // forge-lint: disable-next-line(block-timestamp)
            bool due = id != 0 && _offeredTo[id] == to && block.timestamp >= _offeredFrom[id];
            if (!due || idOf(to) != 0) seatMovedOtherwise = true;
            (_sits[id], _lineage[id]) = (to, to);
            delete _offeredTo[id];
            _heard[id] = block.timestamp;
            ++handovers;
            if (room.charter() != _last.charter || room.rosterDigest() != _last.rosterDigest) {
                governedWithoutQuorum = true;
            }
        } catch {}
    }

    function act_confirm(uint256 who) external watched {
        vm.prank(person(who));
        try room.confirm() {
            if (idOf(person(who)) == 0) seatMovedOtherwise = true;
            _heard[idOf(person(who))] = block.timestamp;
        } catch {}
    }

    /* DATASETS */

    function pick(uint256 seed) private view returns (bytes32) {
        return _datasets[seed % _datasets.length];
    }

    /// @dev Mostly by the one who may.
    function actor(uint256 who, bytes32 dataset) private view returns (address) {
        return who % 4 == 0 ? person(who / 4) : _holder[dataset];
    }

    function act_register(uint256 who, uint256 what) external watched {
        address by = person(who);
        bytes32 id = datasetId(by, numbered(what % 3));
        vm.prank(by);
        try ledger.register(numbered(what % 3), version("v"), LIFETIME, DELTA_LIFETIME) returns (
            bytes32 made
        ) {
            if (made != id || _holder[id] != address(0)) foreignDataset = true;
            _holder[id] = by;
            _datasets.push(id);
        } catch {}
    }

    function act_version(uint256 who, uint256 which) external watched {
        bytes32 id = pick(which);
        address by = actor(who, id);
        vm.prank(by);
        try ledger.addVersion(id, version("w")) {
            if (by != _holder[id]) foreignDataset = true;
        } catch {}
    }

    function act_lifetime(uint256 who, uint256 which, uint32 epsilon, uint40 delta) external watched {
        bytes32 id = pick(which);
        address by = actor(who, id);
        vm.prank(by);
        try ledger.setLifetime(id, epsilon % (2 * LIFETIME), delta % (2 * DELTA_LIFETIME)) {
            if (by != _holder[id]) foreignDataset = true;
        } catch {}
    }

    function act_allow(uint256 who, uint256 which, uint32 epsilon, uint40 delta, uint16 runs)
        external
        watched
    {
        bytes32 id = pick(which);
        address by = actor(who, id);
        address for_ = who % 8 < 6 ? address(room) : address(_liar);
        IRegistry.Limits memory l =
            IRegistry.Limits(epsilon % (3 * CAP), delta % (3 * DELTA_CAP), epsilon % CAP, runs % 9);
        vm.prank(by);
        try ledger.allow(id, for_, l) {
            if (by != _holder[id]) foreignDataset = true;
        } catch {}
    }

    function act_offer(uint256 who, uint256 which, uint256 to) external watched {
        bytes32 id = pick(which);
        address by = actor(who, id);
        vm.prank(by);
        try ledger.offer(ids(id), person(to)) {
            if (by != _holder[id]) foreignDataset = true;
            (_dataTo[id], _dataFrom[id]) = (person(to), block.timestamp + 2 days);
        } catch {}
    }

    function act_accept(uint256 who, uint256 which) external watched {
        bytes32 id = pick(which);
        address by = who % 4 == 0 || _dataTo[id] == address(0) ? person(who / 4) : _dataTo[id];
        vm.prank(by);
        try ledger.accept(ids(id)) {
            // forge-lint: disable-next-line(block-timestamp)
            if (_dataTo[id] != by || block.timestamp < _dataFrom[id]) datasetMovedOtherwise = true;
            _holder[id] = by;
            ++_tenure[id];
            delete _dataTo[id];
            ++transfers;
            // What the holder before allowed is void.
            if (ledger.allowanceOf(id, address(room)).epsilonCap != 0) datasetMovedOtherwise = true;
        } catch {}
    }

    /* RUNS */

    /// @dev One to three runs, some of which may have been opened before, or come late, or be too dear.
    function act_open(uint64 epsilon, uint64 delta, uint8 again) external watched {
        ILedger.Run[] memory runs = new ILedger.Run[](1 + again % 3);
        bool[] memory bad = new bool[](runs.length);
        for (uint256 i = 0; i < runs.length; ++i) {
            runs[i] = run(bytes32(++_drawn));
            (runs[i].epsilonMicro, runs[i].deltaPico) = ((epsilon >> i) % (CAP / 3), (delta >> i) % DELTA);
            if (again >> (2 + i) & 3 == 3) {
                bad[i] = true;
                if (_openings.length != 0 && again % 2 == 0) runs[i].runId = _openings[0].run.runId;
                else runs[i].openBefore = uint64(block.timestamp);
            }
        }
        uint64 number = ledger.books(address(room)).runs;
        vm.prank(gate);
        try ledger.open(address(room), _live, runs, NOTE) returns (bytes[] memory refused) {
            for (uint256 i = 0; i < runs.length; ++i) {
                if (refused[i].length != 0) {
                    ++refusals;
                    continue;
                }
                if (bad[i]) runOpenedTwice = true;
                _openings.push(openingOf(runs[i], _live, ++number));
                tally(_spentByStudy[idOf(_live)], runs[i]);
                spend(address(room), runs[i]);
            }
            if (!room.isLive(idOf(_live))) overspent = true;
        } catch {}
    }

    /// @dev The stranger opens under a consortium of its own. It spends what holders allowed that, and no more.
    function act_openForeign(uint256 which, uint64 epsilon) external watched {
        IConsortium.Study memory s = study("foreign", ids(pick(which)));
        ILedger.Run memory r = run(bytes32(++_drawn));
        (r.epsilonMicro, r.deltaPico) = (epsilon % CAP, 0);
        IConsortium.Study memory kept = _live;
        _live = s;
        vm.prank(stranger);
        try ledger.open(address(_liar), s, alone(r), NOTE) {
            ++foreignRuns;
            spend(address(_liar), r);
        } catch {}
        _live = kept;
    }

    function tally(uint256[3] storage spent, ILedger.Run memory r) private {
        spent[0] += r.epsilonMicro;
        spent[1] += r.deltaPico;
        spent[2] += 1;
    }

    /// @dev On each dataset of `_live`, which looks at once whether that was allowed.
    function spend(address consortium, ILedger.Run memory r) private {
        for (uint256 i = 0; i < _live.datasets.length; ++i) {
            bytes32 id = _live.datasets[i];
            tally(_spentOn[id], r);
            bytes32 key = keccak256(abi.encode(id, _tenure[id], consortium, block.timestamp / 1 days));
            tally(_spentOnDay[key], r);
            IRegistry.Allowance memory w = ledger.allowanceOf(id, consortium);
            uint256[3] storage today = _spentOnDay[key];
            if (today[0] > w.epsilonPerDay || today[2] > w.runsPerDay) overspent = true;
            // A holder may have lowered the cap of delta below what is spent; a run that spends none passes.
            bool tooMuch = r.deltaPico != 0 && w.deltaSpent > w.deltaCap;
            if (w.epsilonSpent > w.epsilonCap || tooMuch) overspent = true;
        }
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
            noteReceipt(o.number);
            if (o.standing != room.standing()) anchoredLate = true;
        } catch {}
    }

    function act_batch(uint256 from, uint8 mask) external watched {
        uint256 total = _openings.length;
        if (total == 0) return;
        uint64[] memory numbers = new uint64[](8);
        uint256 size = 0;
        // Mostly the newest.
        uint256 first = from % 4 == 0 ? 1 + from / 4 % total : total > 8 ? total - 7 : 1;
        for (uint256 i = 0; i < 8 && first + i <= total; ++i) {
            // forge-lint: disable-next-line(unsafe-typecast)
            if (mask >> i & 1 == 1) numbers[size++] = uint64(first + i);
        }
        bytes32[] memory digests = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            digests[i] = keccak256(abi.encode(numbers[i]));
        }
        assembly {
            mstore(numbers, size)
        }
        // forge-lint: disable-next-line(unsafe-typecast)
        bytes32 standing = mask % 8 == 0 ? bytes32("another") : room.standing();
        vm.prank(gate);
        try ledger.anchorBatch(address(room), standing, numbers, digests) {
            ++batches;
            if (standing != room.standing()) anchoredLate = true;
            for (uint256 i = 0; i < size; ++i) {
                noteReceipt(numbers[i]);
            }
        } catch {}
    }

    function noteReceipt(uint64 number) private {
        if (_hasReceipt[number]) runAnchoredTwice = true;
        _hasReceipt[number] = true;
    }

    function act_wait(uint32 seconds_) external watched {
        later(seconds_ % 4 days);
    }

    /* WHAT THE INVARIANTS LOOK AT */

    /// @dev What the contract says of the live study agrees with the model (Consortium I1).
    function liveHasItsQuorum() external view returns (bool) {
        (bytes32 id,) = room.pinned();
        if (!room.isLive(id)) return true;
        address[] memory who = accounts(room.state().approvals);
        for (uint256 i = 0; i < who.length; ++i) {
            if (!agrees(id, idOf(who[i]))) return false;
        }
        return who.length == _approvers.length && who.length >= threshold() && idOf(_live) == id;
    }

    /// @dev Of all recipes, the app allows the one that the consortium names (Consortium I5).
    function allowedIsPinned() external view returns (bool) {
        (bytes32 id, bytes32 composeHash) = room.pinned();
        for (uint256 i = 0; i < RECIPES; ++i) {
            if (app.allowedComposeHashes(recipe(i)) != (recipe(i) == composeHash)) return false;
        }
        return !room.isLive(id) || composeHash == _live.composeHash;
    }

    /// @dev Each owner tries, and what it did is undone (Consortium I2).
    function everyOwnerCanRevoke() external returns (bool) {
        for (uint256 i = 0; i < IDS; ++i) {
            if (_sits[_ids[i]] == address(0)) continue;
            try this.tryRevoking(_sits[_ids[i]]) {
                return false;
            } catch (bytes memory answer) {
                // forge-lint: disable-next-line(unsafe-typecast)
                if (bytes4(answer) != REVOKED) return false;
            }
        }
        return true;
    }

    function tryRevoking(address owner) external {
        bytes32 before = room.basis();
        vm.prank(owner);
        room.revoke("from any state");
        bool stopped = room.basis() != before && !room.isLive(idOf(_live)) && vetoStands(owner);
        for (uint256 i = 0; i < RECIPES; ++i) {
            if (app.allowedComposeHashes(recipe(i))) stopped = false;
        }
        bytes4 word = stopped ? REVOKED : bytes4(0);
        assembly {
            mstore(0, word)
            revert(0, 4)
        }
    }

    /// @dev Who votes for what governs is never voided by another: for each proposal that still follows what
    /// there is, the contract has the votes that the model has (Consortium I3, Quorum Q1, Q2).
    function votesAgree() external view returns (bool) {
        (bytes32 digest, bytes32 charter) = (room.rosterDigest(), room.charter());
        uint256 from = _governing.length > 12 ? _governing.length - 12 : 0;
        for (uint256 i = from; i < _governing.length; ++i) {
            bytes32 proposal = _governing[i];
            if (_follows[proposal] != digest && _follows[proposal] != charter) continue;
            address[] memory who = approvers(proposal);
            for (uint256 j = 0; j < who.length; ++j) {
                if (!agrees(proposal, idOf(who[j]))) return false;
            }
            if (who.length != agreeing(proposal)) return false;
            (, bool count) = room.votes(proposal);
            if (!count && who.length != 0) return false;
        }
        return true;
    }

    /// @dev Who sits, with which veto, is as the model has it (Seats S1, S2, S3).
    function seatsAgree() external view returns (bool) {
        IConsortium.Owner[] memory owners = room.owners();
        IConsortium.Standing memory state = room.state();
        if (owners.length != seated() || owners.length > 16) return false;
        if (state.threshold == 0 || state.threshold > owners.length) return false;
        for (uint256 i = 0; i < owners.length; ++i) {
            address account = owners[i].account;
            if (account == address(0) || _sits[owners[i].id] != account) return false;
            if (_lineage[owners[i].id] != account) return false;
            if (vetoStands(account) != _veto[owners[i].id]) return false;
            // The same seat by account and by bitmap (S4).
            // forge-lint: disable-next-line(incorrect-shift)
            if (accounts(1 << (room.seatOf(account) - 1))[0] != account) return false;
        }
        for (uint256 i = 0; i < PEOPLE; ++i) {
            if ((room.seatOf(_people[i]) != 0) != (idOf(_people[i]) != 0)) return false;
        }
        for (uint256 i = 0; i < IDS; ++i) {
            if (room.heardAt(_ids[i]) != _heard[_ids[i]]) return false;
        }
        return room.chronicle().confirmed & ~room.chronicle().seats == 0;
    }

    /// @dev Books and model agree, within caps and budgets (Ledger L1, Registry R2, R3, R4).
    function spentWithinCaps() external view returns (bool) {
        for (uint256 i = 0; i < _datasets.length; ++i) {
            bytes32 id = _datasets[i];
            IRegistry.Account memory a = ledger.accountOf(id);
            uint256[3] storage spent = _spentOn[id];
            if (a.epsilonSpent != spent[0] || a.deltaSpent != spent[1]) return false;
            if (a.epsilonSpent > a.epsilonCap || a.deltaSpent > a.deltaCap) return false;
            IRegistry.Dataset memory d = ledger.datasetOf(id);
            if (d.holder != _holder[id] || d.tenure != _tenure[id]) return false;
        }
        for (uint256 i = 0; i < PEOPLE; ++i) {
            bytes32[] memory offered = ledger.offered(address(room), _people[i]);
            if (offered.length > 16) return false;
            for (uint256 j = 0; j < offered.length; ++j) {
                if (_holder[offered[j]] != _people[i]) return false;
                if (ledger.allowanceOf(offered[j], address(room)).epsilonCap == 0) return false;
            }
        }
        bytes32 study_ = idOf(_live);
        ILedger.Spending memory s = ledger.spending(address(room), study_);
        uint256[3] storage model = _spentByStudy[study_];
        if (s.epsilonMicro != model[0] || s.deltaPico != model[1] || s.runs != model[2]) return false;
        return model[0] <= _live.epsilonMicro && model[1] <= _live.deltaPico && model[2] <= _live.maxRuns;
    }

    /// @dev Each run that was opened is in the books, once, and those with a receipt are marked (L2, L4).
    function booksAgree() external view returns (bool) {
        uint64 receipts = 0;
        for (uint64 i = 1; i <= _openings.length; ++i) {
            if (ledger.isAnchored(address(room), i) != _hasReceipt[i]) return false;
            if (_hasReceipt[i]) ++receipts;
            if (ledger.commitment(address(room), _openings[i - 1].run.runId) == 0) return false;
        }
        ILedger.Books memory b = ledger.books(address(room));
        return b.runs == _openings.length && b.receipts == receipts && b.batches == batches;
    }

    function appIsClosed() external view returns (bool) {
        return app.owner() == address(room) && app.pendingOwner() == address(0) && !app.allowAnyDevice()
            && app.requireTcbUpToDate();
    }
}
