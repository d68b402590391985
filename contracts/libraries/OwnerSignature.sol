// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title Checks an owner's signature, whatever kind of account the owner has.
library OwnerSignature {
    /// @dev What a wallet may use to check a signature: a Safe of ten owners needs less than a quarter. It
    /// bounds what a hostile one can burn, and how much it can return to be copied.
    uint256 private constant WALLET_GAS = 400_000;

    /// @notice Whether `signature` over `digest` is `account`'s.
    /// @dev ECDSA takes 65 bytes with a low s only. It comes first for every account: who has the key of an
    /// address is an EOA, also one that delegated to a contract (EIP-7702). No contract's address has a key.
    /// A contract that reverts, or answers anything but the magic value, has not signed.
    function isValid(address account, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        (address recovered, ECDSA.RecoverError err,) = ECDSA.tryRecoverCalldata(digest, signature);
        if (err == ECDSA.RecoverError.NoError && recovered == account) return true;
        return account.code.length != 0 && _walletConfirms(account, digest, signature);
    }

    /// @dev EIP-1271. Not OpenZeppelin's SignatureChecker, which passes on all the gas that there is.
    function _walletConfirms(address wallet, bytes32 digest, bytes calldata signature)
        private
        view
        returns (bool)
    {
        bytes memory question = abi.encodeCall(IERC1271.isValidSignature, (digest, signature));
        (bool answered, bytes memory answer) = wallet.staticcall{gas: WALLET_GAS}(question);
        return
            // forge-lint: disable-next-line(unsafe-typecast)
            answered && answer.length >= 32 && bytes32(answer) == bytes32(IERC1271.isValidSignature.selector);
    }
}
