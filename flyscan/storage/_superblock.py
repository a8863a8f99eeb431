"""The superblock of an HDF5 file: the few bytes that say whether it was closed properly.

Layout of versions 2 and 3 from the HDF5 File Format Specification (section II.A): signature,
version, size of offsets, size of lengths, consistency flags (one byte each), base address,
superblock extension address, end-of-file address, root group address, and a checksum over all
of it by Bob Jenkins' ``lookup3`` hash with initial value 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Superblock", "lookup3"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MASK = 0xFFFFFFFF
_FIXED = 12
_ADDRESSES = 4


@dataclass(frozen=True, slots=True)
class Superblock:
    """A superblock of version 2 or 3.

    Args:
        version: format version of the superblock.
        offset_size: bytes per address.
        length_size: bytes per length.
        flags: consistency flags: bit 0 open for writing, bit 2 open for SWMR writing.
        addresses: base, superblock extension, end of file, root group.
    """

    version: int
    offset_size: int
    length_size: int
    flags: int
    addresses: tuple[int, int, int, int]

    @classmethod
    def decode(cls, data: bytes) -> Superblock:
        """Read the superblock at the beginning of `data`.

        Raises:
            ValueError: not HDF5, another version, or the checksum does not fit.
        """
        if data[: len(_SIGNATURE)] != _SIGNATURE:
            raise ValueError("it does not begin with the HDF5 signature")
        if len(data) < _FIXED or (version := data[8]) not in (2, 3):
            raise ValueError("its superblock is older than version 2, which SWMR never uses")
        size = data[9]
        end = _FIXED + _ADDRESSES * size
        if len(data) < end + 4:
            raise ValueError("it ends within the superblock")
        if lookup3(data[:end]) != int.from_bytes(data[end : end + 4], "little"):
            raise ValueError("the checksum of its superblock does not fit")
        base, extension, stop, root = (
            int.from_bytes(data[i : i + size], "little") for i in range(_FIXED, end, size)
        )
        return cls(version, size, data[10], data[11], (base, extension, stop, root))

    def encode(self) -> bytes:
        """The bytes of the superblock, checksum included."""
        head = bytes((self.version, self.offset_size, self.length_size, self.flags))
        body = b"".join(a.to_bytes(self.offset_size, "little") for a in self.addresses)
        data = _SIGNATURE + head + body
        return data + lookup3(data).to_bytes(4, "little")

    @property
    def end_of_file(self) -> int:
        """Where the file ends according to the superblock."""
        base, _, stop, _ = self.addresses
        return base + stop

    def repaired(self, end_of_file: int) -> Superblock:
        """The superblock of a properly closed file of this size."""
        base, extension, _, root = self.addresses
        return replace(self, flags=0, addresses=(base, extension, end_of_file - base, root))


def lookup3(data: bytes, initial: int = 0) -> int:
    """Bob Jenkins' lookup3 hash (``hashlittle``, public domain, 2006), 32 bits."""
    a = b = c = (0xDEADBEEF + len(data) + initial) & _MASK
    if not data:
        return c
    padded = data + bytes(-len(data) % 12)
    words = [int.from_bytes(padded[i : i + 4], "little") for i in range(0, len(padded), 4)]
    *body, last = (words[i : i + 3] for i in range(0, len(words), 3))
    for x, y, z in body:
        a, b, c = _mix((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)
    x, y, z = last
    return _final((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)


def _rot(x: int, k: int) -> int:
    return ((x << k) | (x >> (32 - k))) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for k in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _MASK) ^ _rot(c, k)
        c = (c + b) & _MASK
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    for k in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rot(b, k)) & _MASK
        a, b, c = b, c, a
    return b
