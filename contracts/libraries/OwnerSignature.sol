// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title Checks an owner's signature, whatever kind of account the owner has.
library OwnerSignature {
    /// @dev Code of an EOA that delegated to a contract (EIP-7702): this prefix and an address.
    bytes3 private constant DELEGATION_PREFIX = 0xef0100;
    uint256 private constant DELEGATION_LENGTH = 23;

    /// @notice Whether `signature` over `digest` is `account`'s.
    /// @dev ECDSA takes 65 bytes with a low s only. A delegated EOA keeps its key, so its ECDSA signature
    /// holds, and EIP-1271 is asked only after it. A contract that reverts, or answers anything but the magic
    /// value, has not signed.
    function isValid(address account, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        if (account.code.length == DELEGATION_LENGTH && bytes3(account.code) == DELEGATION_PREFIX) {
            (address recovered, ECDSA.RecoverError err,) = ECDSA.tryRecoverCalldata(digest, signature);
            if (err == ECDSA.RecoverError.NoError && recovered == account) return true;
        }
        return SignatureChecker.isValidSignatureNowCalldata(account, digest, signature);
    }
}
