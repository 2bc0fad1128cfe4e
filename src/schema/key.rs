//! [`Key`]: a field's name as it stands in JSON text.
//!
//! Both directions of the codec handle keys more often than anything else. They keep the first bytes in
//! the plan itself, in a block of constant size: to copy that much and cut off what is too much takes a
//! few instructions, where a copy of the right length takes a call.

/// `,"name":` for one name of a field.
#[derive(Debug)]
pub struct Key {
    block: [u8; BLOCK_LEN],
    /// How much of the block is the member's text; 0 when that is too long for it.
    block_len: u8,
    text: Box<[u8]>,
}

/// Room for names of up to 28 bytes, which nearly all are.
const BLOCK_LEN: usize = 32;

impl Key {
    /// The member text of a name.
    pub fn of(name: &str) -> Self {
        let quoted = serde_json::to_string(name).expect("a string serializes");
        let text = format!(",{quoted}:").into_bytes();
        let mut block = [b' '; BLOCK_LEN];
        let mut block_len = 0;
        if let (Some(start), Ok(len)) = (block.get_mut(..text.len()), u8::try_from(text.len())) {
            start.copy_from_slice(&text);
            block_len = len;
        }
        Self { block, block_len, text: text.into() }
    }

    /// A block that begins with [`Self::with_comma`], and how long that is; `None` for a long name.
    #[inline]
    pub fn block(&self) -> Option<(&[u8; BLOCK_LEN], usize)> {
        (self.block_len > 0).then_some((&self.block, usize::from(self.block_len)))
    }

    /// `,"name":`, with which a member is set off from what comes before.
    #[inline]
    pub fn with_comma(&self) -> &[u8] {
        &self.text
    }

    /// `"name":`, with which a member begins.
    #[inline]
    pub fn quoted(&self) -> &[u8] {
        self.text.get(1..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_keys_are_in_the_block() {
        for (name_len, in_block) in [(0, true), (1, true), (28, true), (29, false), (300, false)] {
            let name = "n".repeat(name_len);
            let key = Key::of(&name);
            assert_eq!(key.with_comma(), format!(",\"{name}\":").as_bytes());
            assert_eq!(key.quoted(), format!("\"{name}\":").as_bytes());
            let block = key.block().map(|(block, len)| &block[..len]);
            assert_eq!(block, in_block.then_some(key.with_comma()), "{name_len}");
        }
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(Key::of("a\"b").quoted(), br#""a\"b":"#);
    }
}
