// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Keeps text from outside readable.
/// @dev Programs that decode strictly stop at malformed UTF-8. No owner shall be able to stop them that way.
library Text {
    uint256 private constant MAX_NAME_BYTES = 64;
    uint256 private constant ONES = type(uint256).max / 0xff;
    uint256 private constant SPACES = ONES * 0x20;
    uint256 private constant HIGH_BITS = ONES * 0x80;

    /// @notice Whether `name` is 1 to 64 of `a-z A-Z 0-9 . _ -`, beginning with a letter or a digit.
    function isName(string calldata name) internal pure returns (bool) {
        bytes calldata text = bytes(name);
        if (text.length == 0 || text.length > MAX_NAME_BYTES) return false;
        for (uint256 i = 0; i < text.length; ++i) {
            bytes1 c = text[i];
            bool alphanumeric = (c >= "0" && c <= "9") || (c >= "A" && c <= "Z") || (c >= "a" && c <= "z");
            bool punctuation = i != 0 && (c == "." || c == "_" || c == "-");
            if (!alphanumeric && !punctuation) return false;
        }
        return true;
    }

    /// @notice The first `limit` bytes of `text`, with "?" for each byte that is a control character or part
    /// of no well-formed UTF-8 character (Unicode 16.0, table 3-7). Never reverts.
    function clip(string calldata text, uint256 limit) internal pure returns (string memory) {
        bytes calldata source = bytes(text);
        if (source.length > limit) source = source[:limit];
        if (_isPlain(source)) return string(source);
        bytes memory kept = source;
        uint256 i = 0;
        while (i < kept.length) {
            uint256 width = _width(kept, i);
            if (width == 0) {
                kept[i] = "?";
                width = 1;
            }
            i += width;
        }
        return string(kept);
    }

    /// @dev Whether all is printable ASCII, 32 bytes at a time. That is the common case, and cheap.
    function _isPlain(bytes calldata text) private pure returns (bool) {
        for (uint256 i = 0; i < text.length; i += 32) {
            uint256 word = uint256(bytes32(text[i:]));
            // What stands behind the end reads as zero bytes, which are made spaces.
            if (text.length - i < 32) word |= SPACES >> (8 * (text.length - i));
            // Below 0x80 nothing carries from byte to byte: the highest bit of a byte then shows 0x7f, when one is
            // added, and what is below 0x20, when that is taken from it.
            if (word & HIGH_BITS != 0) return false;
            if (((word + ONES) | ~((word | HIGH_BITS) - SPACES)) & HIGH_BITS != 0) return false;
        }
        return true;
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
