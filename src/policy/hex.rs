//! Bytes as hexadecimal digits, two each.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes as many pairs of digits, in lower case, as there are bytes and room for them.
///
/// Every call has some, here and there: one short loop for all of them stays in the processor's cache of instructions,
/// where an unrolled or vectorized one for each has to be fetched.
#[inline(never)]
pub(crate) fn put(bytes: &[u8], out: &mut [u8]) {
    for (pair, byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_two_digits() {
        for byte in 0..=u8::MAX {
            let mut out = [b'.'; 3];
            put(&[byte], &mut out);
            assert_eq!(std::str::from_utf8(&out), Ok(format!("{byte:02x}.").as_str()));
        }
        let mut out = [b'.'; 4];
        put(&[0xab, 0xcd, 0xef], &mut out);
        assert_eq!(&out, b"abcd", "as far as there is room");
    }
}
