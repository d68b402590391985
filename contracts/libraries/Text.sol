// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Keeps text from outside readable.
/// @dev Programs that decode strictly stop at malformed UTF-8. No owner shall be able to stop them that way.
library Text {
    uint256 private constant MAX_NAME_BYTES = 64;
    uint256 private constant MAX_ID_BYTES = 31;
    /// @dev The same byte 32 times.
    uint256 private constant ONES = type(uint256).max / 0xff;

    /// @notice Whether `name` is 1 to 64 of `a-z A-Z 0-9 _ -`, beginning with a letter.
    function isName(string calldata name) internal pure returns (bool) {
        bytes calldata text = bytes(name);
        if (text.length == 0 || text.length > MAX_NAME_BYTES || !_isLetter(text[0])) return false;
        for (uint256 i = 1; i < text.length; ++i) {
            if (!_isLetter(text[i]) && !_isDigitOrHyphen(text[i]) && text[i] != "_") return false;
        }
        return true;
    }

    /// @notice Whether `id` is a letter, then up to 30 letters, digits or hyphens, then zero bytes only.
    function isId(bytes32 id) internal pure returns (bool) {
        if (!_isLetter(id[0])) return false;
        uint256 i = 1;
        while (i < MAX_ID_BYTES && (_isLetter(id[i]) || _isDigitOrHyphen(id[i]))) {
            ++i;
        }
        return uint256(id) << (8 * i) == 0;
    }

    /// @notice Whether `code` is two upper-case letters, as in ISO 3166-1 alpha-2.
    function isCountry(bytes2 code) internal pure returns (bool) {
        return code[0] >= "A" && code[0] <= "Z" && code[1] >= "A" && code[1] <= "Z";
    }

    /// @notice The first `limit` bytes of `text`, with "?" for each byte that is a control character or part
    /// of no well-formed UTF-8 character (Unicode 16.0, table 3-7). Never reverts.
    function clip(string calldata text, uint256 limit) internal pure returns (string memory) {
        bytes calldata source = bytes(text);
        if (source.length > limit) source = source[:limit];
        bytes memory kept = source;
        uint256 i = 0;
        while (i < kept.length) {
            uint256 width = _isPlain(source[i:]) ? 32 : _width(kept, i);
            if (width == 0) {
                kept[i] = "?";
                width = 1;
            }
            unchecked {
                i += width;
            }
        }
        return string(kept);
    }

    /// @dev Whether the next 32 bytes, or all that are left, are printable ASCII, 0x20 to 0x7e: the top bit of
    /// each is clear, and stays so when 1 is added, and is set when 0x60 is added. (Only a byte whose top bit is
    /// set carries into its neighbour.) Spares a stop up to 85,000 gas, which one look at each byte would take.
    function _isPlain(bytes calldata text) private pure returns (bool) {
        // forge-lint: disable-next-line(unsafe-typecast)
        uint256 word = uint256(bytes32(text));
        if (text.length < 32) word |= (0x20 * ONES) >> (8 * text.length);
        unchecked {
            return (word | (word + ONES) | ~(word + 0x60 * ONES)) & (0x80 * ONES) == 0;
        }
    }

    function _isLetter(bytes1 c) private pure returns (bool) {
        return (c >= "A" && c <= "Z") || (c >= "a" && c <= "z");
    }

    function _isDigitOrHyphen(bytes1 c) private pure returns (bool) {
        return (c >= "0" && c <= "9") || c == "-";
    }

    /// @dev Bytes of the character that begins at `i`, or 0 if none does.
    function _width(bytes memory text, uint256 i) private pure returns (uint256) {
        uint8 lead = uint8(text[i]);
        if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;

        uint256 width = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
        if (lead < 0xc2 || lead > 0xf4 || text.length - i < width) return 0;

        // The second byte's range keeps out overlong forms, surrogates, and what lies beyond U+10FFFF.
        uint8 second = uint8(text[i + 1]);
        uint8 least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8 most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (second < least || second > most) return 0;

        for (uint256 j = i + 2; j < i + width; ++j) {
            if (uint8(text[j]) >> 6 != 2) return 0;
        }
        return width;
    }
}
