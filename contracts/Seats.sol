// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "./interfaces/IConsortium.sol";
import {Text} from "./libraries/Text.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @title Who sits in a consortium, who sat, and how a seat changes hands.
///  Votes are bitmaps: the holder of seat i, counted from zero, has bit i. Who held a seat after any number of
/// changes is kept, so that a bitmap can be read years later.
///
/// INVARIANTS
/// S1. 1 <= threshold <= seats taken <= 16; an account and an id have one seat at most.
/// S2. An id only ever sits under its own lineage of accounts: the first one, and those to which that one
/// moved the seat. So nobody is seated under another's name, and a veto that stands comes back with its name.
/// S3. Only a roster takes or gives a seat. Its holder moves it to an account that takes it, two days after it
/// was offered; that changes no digest and voids no vote.
/// S4. A seat's bit means the same owner as long as `roster` has the same number.
/// S5. When an id was last heard moves with its seat, and only forward. A new id has none.
abstract contract Seats is IConsortium {
    uint256 private constant MAX_OWNERS = 16;
    uint256 private constant HANDOVER_NOTICE = 2 days;

    /// @dev An id and the account that it belongs to, seated (counted from one) or not.
    struct Lineage {
        address account;
        uint8 seat;
        // The id left with its veto standing. Says nothing while it sits.
        bool revoking;
        uint32 returns_;
        uint48 heard;
    }

    struct Tenancy {
        address account;
        uint24 roll;
    }

    struct Handover {
        address to;
        uint64 from;
    }

    /// @dev All that decides in one slot, so that stopping and granting each touch little storage.
    Standing internal _standing;
    Chronicle internal _chronicle;
    /// @inheritdoc IConsortium
    bytes32 public rosterDigest;
    /// @inheritdoc IConsortium
    bytes32 public charter;
    /// @dev Charter, and all machines added under it.
    bytes32 internal _ground;
    mapping(uint256 seat => Owner) private _owners;
    mapping(uint256 seat => Tenancy[]) private _tenancies;
    /// @inheritdoc IConsortium
    mapping(uint256 seat => Handover) public handover;
    /// @inheritdoc IConsortium
    mapping(address account => uint256) public seatOf;
    mapping(bytes32 id => Lineage) private _lineages;

    /* ONE OWNER */

    /// @inheritdoc IConsortium
    function confirm() external {
        _hear(msg.sender);
        emit Confirmed(msg.sender, _record(_bit(msg.sender)));
    }

    /// @inheritdoc IConsortium
    function offerSeat(address to) external {
        uint256 bit = _bit(msg.sender);
        Handover storage h = handover[seatOf[msg.sender] - 1];
        if (h.to == to) return;
        uint256 from = block.timestamp + HANDOVER_NOTICE;
        // forge-lint: disable-next-line(unsafe-typecast)
        (h.to, h.from) = (to, uint64(from));
        emit SeatOffered(msg.sender, to, from, _record(bit));
    }

    /// @inheritdoc IConsortium
    function acceptSeat(address owner) external {
        uint256 bit = _bit(owner);
        uint256 seat = seatOf[owner] - 1;
        Handover memory h = handover[seat];
        // A validator may shift a timestamp by seconds; the notice is two days.
        // forge-lint: disable-next-line(block-timestamp)
        bool due = h.to == msg.sender && block.timestamp >= h.from;
        require(due && seatOf[msg.sender] == 0, ConsortiumNoHandover(owner, msg.sender));
        _settle();
        delete handover[seat];
        delete seatOf[owner];
        Owner storage o = _owners[seat];
        o.account = msg.sender;
        _lineages[o.id].account = msg.sender;
        uint24 roll = ++_standing.roll;
        _take(seat, msg.sender, roll);
        _hear(msg.sender);
        emit SeatMoved(owner, msg.sender, roll, _record(bit));
    }

    /* VIEWS */

    /// @inheritdoc IConsortium
    function owners() external view returns (Owner[] memory list) {
        uint256 seats = _chronicle.seats;
        list = new Owner[](_ones(seats));
        uint256 n = 0;
        for (uint256 i = 0; i < MAX_OWNERS; ++i) {
            if ((seats >> i) & 1 == 1) list[n++] = _owners[i];
        }
    }

    /// @inheritdoc IConsortium
    function accountsAt(uint256 roll, uint256 seats) public view returns (address[] memory list) {
        list = new address[](_ones(seats));
        uint256 n = 0;
        for (uint256 i = 0; n < list.length; ++i) {
            if ((seats >> i) & 1 == 0) continue;
            Tenancy[] storage all = _tenancies[i];
            uint256 j = all.length;
            while (j != 0 && all[j - 1].roll > roll) {
                --j;
            }
            list[n++] = j == 0 ? address(0) : all[j - 1].account;
        }
    }

    /// @inheritdoc IConsortium
    function returnsOf(bytes32 id) public view returns (uint64) {
        return _lineages[id].returns_;
    }

    /// @inheritdoc IConsortium
    function heardAt(bytes32 id) public view returns (uint64) {
        return _lineages[id].heard;
    }

    /// @inheritdoc IConsortium
    function state() external view returns (Standing memory) {
        return _standing;
    }

    /// @inheritdoc IConsortium
    function chronicle() external view returns (Chronicle memory) {
        return _chronicle;
    }

    /* INTERNAL: A ROSTER */

    /// @dev Writes down how the study pinned last ended, before a change of seats that would hide it.
    function _settle() internal virtual;

    /// @dev Seats a roster whose proposal is `id`. Who stays keeps the seat, whatever account holds it by now.
    function _seat(bytes32 id, Roster memory r) internal {
        uint24 roll = ++_standing.roll;
        (uint256 seats, uint256 revokers) = (_chronicle.seats, _standing.revokers);
        for (uint256 i = 0; i < r.remove.length; ++i) {
            Lineage storage line = _lineages[r.remove[i]];
            require(line.seat != 0, ConsortiumOwnerNotSeated(r.remove[i]));
            uint256 seat = line.seat - 1;
            // At most 16 seats.
            // forge-lint: disable-next-line(incorrect-shift)
            uint256 bit = 1 << seat;
            (line.seat, line.revoking) = (0, revokers & bit != 0);
            (seats, revokers) = (seats & ~bit, revokers & ~bit);
            delete seatOf[line.account];
            delete _owners[seat];
            delete handover[seat];
            _tenancies[seat].push(Tenancy({account: address(0), roll: roll}));
        }
        // At most 16 seats.
        // forge-lint: disable-next-line(unsafe-typecast)
        _chronicle.confirmed &= uint16(seats);
        for (uint256 i = 0; i < r.add.length; ++i) {
            uint256 bit = _join(r.add[i], seats, roll);
            seats |= bit;
            if (_lineages[r.add[i].id].revoking) revokers |= bit;
        }
        uint256 count = _ones(seats);
        require(r.threshold != 0 && r.threshold <= count, ConsortiumThreshold(r.threshold, count));
        // At most 16 seats.
        // forge-lint: disable-next-item(unsafe-typecast)
        (_chronicle.seats, _standing.revokers) = (uint16(seats), uint16(revokers));
        // Who approved what ran before is told by seats that may be others' now.
        (_standing.threshold, _standing.approvals) = (r.threshold, 0);
        ++_standing.roster;
        rosterDigest = id;
        _amend(id);
    }

    /// @dev Chains a roster or a platform into the charter, with the machines that were added before it: a roster
    /// keeps them.
    function _amend(bytes32 id) internal {
        charter = keccak256(abi.encode(_ground, id));
        _ground = charter;
        _step();
    }

    function _join(Owner memory o, uint256 seats, uint24 roll) private returns (uint256 bit) {
        Lineage storage line = _lineages[o.id];
        bool formed = o.account != address(0) && Text.isId(o.id) && Text.isCountry(o.jurisdiction);
        require(formed, ConsortiumOwnerInvalid(o.id));
        require(line.seat == 0 && seatOf[o.account] == 0, ConsortiumOwnerSeated(o.id));
        bool known = line.account != address(0);
        require(!known || line.account == o.account, ConsortiumOwnerTaken(o.id, line.account));
        uint256 seat = 0;
        while ((seats >> seat) & 1 == 1) {
            ++seat;
        }
        require(seat < MAX_OWNERS, ConsortiumOwnersTooMany());
        // forge-lint: disable-next-item(unsafe-typecast)
        (line.account, line.seat) = (o.account, uint8(seat + 1));
        _owners[seat] = o;
        _take(seat, o.account, roll);
        // forge-lint: disable-next-line(incorrect-shift)
        bit = 1 << seat;
    }

    function _take(uint256 seat, address account, uint24 roll) private {
        seatOf[account] = seat + 1;
        _tenancies[seat].push(Tenancy({account: account, roll: roll}));
    }

    /// @dev Counts for each of these seats that its veto was lifted.
    function _lift(uint256 seats) internal {
        for (uint256 i = 0; seats >> i != 0; ++i) {
            if ((seats >> i) & 1 == 1) ++_lineages[_owners[i].id].returns_;
        }
    }

    /// @dev The owner says that it is there. Not part of {_record}: a revocation writes no more than it must.
    function _hear(address owner) internal {
        _lineages[_idOf(_seatOf(owner) - 1)].heard = uint48(block.timestamp);
    }

    function _idOf(uint256 seat) internal view returns (bytes32) {
        return _owners[seat].id;
    }

    /// @dev The seat of an id, or nothing.
    function _seatedBit(bytes32 id) internal view returns (uint256) {
        uint256 seat = _lineages[id].seat;
        // forge-lint: disable-next-line(incorrect-shift)
        return seat == 0 ? 0 : 1 << (seat - 1);
    }

    /* INTERNAL: BITS AND EVENTS */

    /// @dev An event is about to be emitted for what these seats did: answers with the block of the one before.
    function _record(uint256 by) internal returns (uint64 previous) {
        Chronicle storage c = _chronicle;
        previous = c.lastBlock;
        c.lastBlock = uint64(block.number);
        // Changes the slot also in the block of the event before. Wallets estimate gas in the newest block;
        // without this line they would find too little for the next one. It goes round, so that no number of
        // events ever refuses a stop.
        unchecked {
            ++c.events;
        }
        // forge-lint: disable-next-line(unsafe-typecast)
        c.confirmed |= uint16(by);
    }

    /// @dev The standing changes. Readers see states between blocks, so one step a block is all they can see.
    function _step() internal {
        Chronicle storage c = _chronicle;
        // Without a branch: a wallet that estimates in the block of a step shall find what the next block takes.
        // forge-lint: disable-next-line(unsafe-typecast)
        c.steps += uint64(SafeCast.toUint(c.steppedBlock != block.number));
        c.steppedBlock = uint64(block.number);
    }

    function _bit(address account) internal view returns (uint256) {
        return _bitOf(_seatOf(account));
    }

    /// @dev The seat of an owner, counted from one.
    function _seatOf(address account) internal view returns (uint256 seat) {
        seat = seatOf[account];
        require(seat != 0, ConsortiumNotOwner(account));
    }

    function _bitOf(uint256 seat) internal pure returns (uint256) {
        // forge-lint: disable-next-line(incorrect-shift)
        return 1 << (seat - 1);
    }

    function _ones(uint256 bitmap) internal pure returns (uint256 count) {
        for (; bitmap != 0; bitmap &= bitmap - 1) {
            ++count;
        }
    }
}
