//! What all messages of the kernel's netlink have in common, see netlink(7): their head, and
//! numbers in the machine's own byte order.

/// `struct nlmsghdr`: length (u32), type (u16), flags (u16), sequence (u32), port (u32).
pub const HEADER_BYTES: usize = 16;
/// Messages and attributes are padded to multiples of this.
pub const ALIGN_BYTES: usize = 4;

/// A number of two bytes; none beyond the end, here and below.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// A number of four bytes.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A number of eight bytes.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
