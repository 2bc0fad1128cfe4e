//! Things with names, in their own order, and found by name: what a hostile document asks for a thousand times must
//! not be searched for from the beginning each time.

use std::ops::Deref;

/// Something that has a name among its like.
pub trait Named {
    fn name(&self) -> &str;
}

/// A list whose members are found by name. Of several of one name any is found.
#[derive(Debug)]
pub struct Members<T> {
    list: Box<[T]>,
    /// Places in `list`, sorted by name.
    by_name: Box<[u32]>,
}

impl<T: Named> Members<T> {
    pub fn find(&self, name: &str) -> Option<&T> {
        let place =
            self.by_name.binary_search_by(|place| self.at(*place).map_or("", T::name).cmp(name)).ok()?;
        self.at(*self.by_name.get(place)?)
    }

    fn at(&self, place: u32) -> Option<&T> {
        self.list.get(usize::try_from(place).ok()?)
    }
}

impl<T: Named> FromIterator<T> for Members<T> {
    fn from_iter<I: IntoIterator<Item = T>>(members: I) -> Self {
        let list: Box<[T]> = members.into_iter().collect();
        let mut by_name: Vec<(&str, u32)> = list.iter().map(T::name).zip(0..).collect();
        by_name.sort_unstable();
        let by_name = by_name.into_iter().map(|(_, place)| place).collect();
        Self { list, by_name }
    }
}

impl<T> Deref for Members<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.list
    }
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self { list: Box::default(), by_name: Box::default() }
    }
}

impl<'m, T> IntoIterator for &'m Members<T> {
    type Item = &'m T;
    type IntoIter = std::slice::Iter<'m, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}
