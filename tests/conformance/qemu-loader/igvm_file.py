"""Reads, changes and writes IGVM files, from the format's published layouts and not from our own reader."""

import dataclasses
import struct
import zlib

FIXED_BYTES = 24
POLICY, PARAMETER_AREA, PAGE_DATA, INSERT, VP_CONTEXT, REQUIRED_MEMORY = 0x101, 0x301, 0x302, 0x303, 0x304, 0x305
MADT, ID_BLOCK, MEMORY_MAP, COMMAND_LINE, DEVICE_TREE = 0x309, 0x30B, 0x30C, 0x30E, 0x312
PAGE = 4096


@dataclasses.dataclass
class Header:
    """One variable header."""

    kind: int
    content: bytes

    def field(self, layout, offset):
        """A number of the header."""
        return struct.unpack_from(layout, self.content, offset)[0]

    def with_field(self, layout, offset, value):
        """The header with another number."""
        content = bytearray(self.content)
        struct.pack_into(layout, content, offset, value)
        return Header(self.kind, bytes(content))


class File:
    """A file: its headers, and the data that they point to by offsets from the start of the file."""

    def __init__(self, raw):
        _, version, start, size, _, _ = struct.unpack_from("<6I", raw)
        if version != 1:
            raise ValueError(f"format version {version}")
        self.data_start = start + size
        self.data = raw[self.data_start :]
        self.headers = []
        place = start
        while place < start + size:
            kind, length = struct.unpack_from("<2I", raw, place)
            self.headers.append(Header(kind, raw[place + 8 : place + 8 + length]))
            place += 8 + (length + 7) // 8 * 8

    def index(self, kind):
        """The place of the first header of a kind."""
        return next(index for index, header in enumerate(self.headers) if header.kind == kind)

    def last(self, kind):
        """The place of the last one."""
        return max(index for index, header in enumerate(self.headers) if header.kind == kind)

    def move(self, kind, behind):
        """Puts the first header of a kind directly behind the first one of another."""
        header = self.headers.pop(self.index(kind))
        self.headers.insert(self.index(behind) + 1, header)

    def change(self, kind, layout, offset, value):
        """Changes a number in the first header of a kind."""
        index = self.index(kind)
        self.headers[index] = self.headers[index].with_field(layout, offset, value)

    def change_data(self, kind, layout, offset, value):
        """Changes a number in the data of the first header of a kind; its offset in the file is at byte 12."""
        place = self.headers[self.index(kind)].field("<I", 12) - self.data_start
        data = bytearray(self.data)
        struct.pack_into(layout, data, place + offset, value)
        self.data = bytes(data)

    def page(self, header):
        """The page of a header with data, or None."""
        offset = header.field("<I", 12)
        return self.data[offset - self.data_start :][:PAGE] if offset else None

    def write(self):
        """The file, with offsets and checksum made anew."""
        plain = b"".join(pack(header) for header in self.headers)
        moved = FIXED_BYTES + len(plain) - self.data_start
        headers = b"".join(pack(shift(header, moved)) for header in self.headers)
        total = FIXED_BYTES + len(headers) + len(self.data)
        fixed = [0x4D564749, 1, FIXED_BYTES, len(headers), total, 0]
        fixed[5] = zlib.crc32(struct.pack("<6I", *fixed) + headers)
        return struct.pack("<6I", *fixed) + headers + self.data


def pack(header):
    """A header's bytes, padded."""
    padding = bytes(-len(header.content) % 8)
    return struct.pack("<2I", header.kind, len(header.content)) + header.content + padding


def shift(header, moved):
    """The header with its data's offset moved."""
    if header.kind in (PARAMETER_AREA, PAGE_DATA, VP_CONTEXT) and header.field("<I", 12):
        return header.with_field("<I", 12, header.field("<I", 12) + moved)
    return header
