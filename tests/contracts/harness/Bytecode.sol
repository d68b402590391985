// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev What compiled code says of itself: which functions it has, and which it can call.
library Bytecode {
    /// @dev The selectors that code compares its call with: each `PUSH4 selector EQ` that is run, not pushed.
    function dispatched(bytes memory code) internal pure returns (bytes4[64] memory found, uint256 count) {
        for (uint256 i = 0; i + 5 < code.length; ++i) {
            uint8 op = uint8(code[i]);
            if (op == 0xfe) break; // INVALID: what follows is metadata
            if (op == 0x63 && code[i + 5] == 0x14) {
                found[count++] = bytes4(bytes.concat(code[i + 1], code[i + 2], code[i + 3], code[i + 4]));
            }
            i += immediate(op);
        }
    }

    /// @dev Whether code pushes a selector, in any of the shifted forms that the compiler makes of it.
    function pushes(bytes memory code, bytes4 selector) internal pure returns (bool found) {
        for (uint256 i = 0; i + 32 < code.length && !found; ++i) {
            uint256 length = immediate(uint8(code[i]));
            uint256 pushed = 0;
            for (uint256 j = 1; j <= length; ++j) {
                pushed = pushed << 8 | uint8(code[i + j]);
            }
            found = length != 0 && odd(pushed) == odd(uint32(selector));
            i += length;
        }
    }

    /// @dev How many bytes stand behind an instruction: those of PUSH1 to PUSH32.
    function immediate(uint8 op) private pure returns (uint256) {
        return op >= 0x60 && op <= 0x7f ? op - 0x5f : 0;
    }

    function odd(uint256 number) private pure returns (uint256) {
        while (number != 0 && number & 1 == 0) number >>= 1;
        return number;
    }
}
