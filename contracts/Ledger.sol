// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IConsortium} from "./interfaces/IConsortium.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// @title Books privacy budget before a run, and its receipt after.
///
/// TRUST
/// One ledger serves all consortia of a chain. Each entry stands under the consortium it is for, and only
/// what that consortium says of itself is believed, so a false one falsifies only its own books. The gate is
/// trusted to name in `open` the key of an enclave that it attested; with that, `anchor` needs to trust
/// nobody.
///
/// INVARIANTS
/// I1. What is spent only grows. It never exceeds the cap of a dataset, nor the budget of a study.
/// I2. A run opens once and is anchored at most once.
/// I3. A receipt is anchored only if the enclave named in `open` signed it, and only in the epoch of its run.
/// I4. The receipts of a consortium are numbered 1, 2, 3 and so on.
/// I5. Only a dataset's owner sets its cap.
///
/// AWKWARD TRUTHS
/// - A run that fails has spent its budget all the same: nobody can prove that it revealed nothing.
/// - A dataset without a cap allows no run. Its owner must set one.
/// - The books count per dataset. Whether the same person is in two datasets, they cannot know.
/// - Run ids are global. Who sees one in a pending transaction can open it first under a consortium of its
///   own; the gate then needs a new one.
/// - A revocation after the result left the enclave keeps the receipt out, not the result in.
contract Ledger is ILedger, EIP712 {
    bytes32 private constant RECEIPT = keccak256(
        "Receipt(bytes32 runId,address consortium,bytes32 study,bytes32 composeHash,bytes32 datasetsRoot,bytes32 resultDigest,bytes32 statementDigest,uint64 epsilonMicro,uint64 epoch,bytes32 grantHash)"
    );

    /* STORAGE: all amounts are millionths of epsilon */

    mapping(address consortium => mapping(bytes32 dataset => uint64)) public cap;
    mapping(address consortium => mapping(bytes32 dataset => uint64)) public spent;
    mapping(address consortium => mapping(bytes32 study => uint64)) public studySpent;
    mapping(address consortium => mapping(bytes32 study => uint32)) public studyRuns;
    mapping(address consortium => uint64) public receiptCount;
    mapping(bytes32 runId => OpenedRun) private _runs;

    constructor() EIP712("Sealroom Ledger", "1") {}

    /* OWNER OF A DATASET */

    /// @inheritdoc ILedger
    function setCap(address consortium, bytes32 dataset, uint64 epsilonMicro) external {
        require(
            msg.sender == IConsortium(consortium).dataset(dataset).owner,
            LedgerNotDatasetOwner(msg.sender, dataset)
        );
        uint64 used = spent[consortium][dataset];
        require(epsilonMicro >= used, LedgerCapBelowSpent(dataset, epsilonMicro, used));

        cap[consortium][dataset] = epsilonMicro;
        emit CapSet(consortium, dataset, msg.sender, epsilonMicro);
    }

    /* GATE */

    /// @inheritdoc ILedger
    function open(Run calldata r) external {
        IConsortium consortium = IConsortium(r.consortium);
        require(msg.sender == consortium.gateSigner(), LedgerNotGate(msg.sender, r.consortium));
        require(
            r.runId != 0 && r.enclaveSigner != address(0) && r.grantHash != 0 && r.epsilonMicro != 0,
            LedgerRunIncomplete(r.runId)
        );
        require(_runs[r.runId].openedBlock == 0, LedgerRunExists(r.runId));
        uint64 epoch = consortium.epoch();
        require(r.epoch == epoch, LedgerEpochMismatch(r.epoch, epoch));
        require(consortium.isLive(r.study), LedgerStudyNotLive(r.study));

        _book(r, consortium.study(r.study));
        _runs[r.runId] = OpenedRun({
            consortium: r.consortium,
            study: r.study,
            epsilonMicro: r.epsilonMicro,
            epoch: r.epoch,
            enclaveSigner: r.enclaveSigner,
            grantHash: r.grantHash,
            openedBlock: uint64(block.number),
            sequence: 0
        });
        emit RunOpened(r.consortium, r.runId, r.study, r.epsilonMicro, r.epoch, r.enclaveSigner, r.grantHash);
    }

    /* ANYONE, WITH THE ENCLAVE'S SIGNATURE */

    /// @inheritdoc ILedger
    function anchor(Receipt calldata receipt, bytes calldata signature) external {
        OpenedRun storage opened = _runs[receipt.runId];
        require(opened.openedBlock != 0, LedgerRunUnknown(receipt.runId));
        require(opened.sequence == 0, LedgerReceiptExists(receipt.runId, opened.sequence));
        _checkReceipt(receipt, opened);
        uint64 epoch = IConsortium(opened.consortium).epoch();
        require(epoch == opened.epoch, LedgerRunRevoked(receipt.runId, opened.epoch, epoch));
        (address signer, ECDSA.RecoverError err,) = ECDSA.tryRecoverCalldata(hashReceipt(receipt), signature);
        require(
            err == ECDSA.RecoverError.NoError && signer == opened.enclaveSigner,
            LedgerBadSignature(receipt.runId, opened.enclaveSigner)
        );

        uint64 sequence = ++receiptCount[receipt.consortium];
        opened.sequence = sequence;
        emit ReceiptAnchored(
            receipt.consortium,
            receipt.runId,
            receipt.study,
            sequence,
            receipt.composeHash,
            receipt.resultDigest,
            receipt.statementDigest,
            receipt.epsilonMicro
        );
    }

    /* INTERNAL */

    /// @dev Takes the run's epsilon from the study and from each of its datasets, or refuses all of it (I1).
    function _book(Run calldata r, IConsortium.Study memory study) private {
        uint32 runs = studyRuns[r.consortium][r.study];
        require(runs < study.maxRuns, LedgerRunsExhausted(r.study, study.maxRuns));
        uint64 used = studySpent[r.consortium][r.study];
        uint64 left = study.epsilonMicro - used;
        require(r.epsilonMicro <= left, LedgerStudyBudgetExceeded(r.study, r.epsilonMicro, left));

        studyRuns[r.consortium][r.study] = runs + 1;
        studySpent[r.consortium][r.study] = used + r.epsilonMicro;
        for (uint256 i = 0; i < study.datasets.length; ++i) {
            bytes32 dataset = study.datasets[i];
            used = spent[r.consortium][dataset];
            left = cap[r.consortium][dataset] - used;
            require(r.epsilonMicro <= left, LedgerDatasetBudgetExceeded(dataset, r.epsilonMicro, left));
            spent[r.consortium][dataset] = used + r.epsilonMicro;
        }
    }

    function _checkReceipt(Receipt calldata receipt, OpenedRun storage opened) private view {
        bytes32 id = receipt.runId;
        require(receipt.consortium == opened.consortium, LedgerReceiptMismatch(id, 2));
        require(receipt.study == opened.study, LedgerReceiptMismatch(id, 3));
        IConsortium.Study memory study = IConsortium(opened.consortium).study(opened.study);
        require(receipt.composeHash == study.composeHash, LedgerReceiptMismatch(id, 4));
        require(receipt.epsilonMicro == opened.epsilonMicro, LedgerReceiptMismatch(id, 8));
        require(receipt.epoch == opened.epoch, LedgerReceiptMismatch(id, 9));
        require(receipt.grantHash == opened.grantHash, LedgerReceiptMismatch(id, 10));
    }

    /* VIEWS */

    /// @inheritdoc ILedger
    function run(bytes32 runId) external view returns (OpenedRun memory) {
        return _runs[runId];
    }

    /// @inheritdoc ILedger
    function hashReceipt(Receipt calldata receipt) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(RECEIPT, receipt)));
    }

    /// @inheritdoc ILedger
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }
}
