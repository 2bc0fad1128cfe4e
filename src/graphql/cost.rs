//! What a reply may cost: its objects, as far as they can be told before anything is called.
//!
//! The elements of a list count as often as the call's lists are long, those of lists in lists that often again. So a
//! cost is a polynomial in that length: it is told once of a selection, whatever the arguments say later.

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Objects by the number of lists that they are in.
    by_lists: Vec<u64>,
}

impl Cost {
    /// Adds objects that are in so many lists.
    pub(super) fn add(&mut self, lists: usize, objects: u64) {
        if self.by_lists.len() <= lists {
            self.by_lists.resize(lists + 1, 0);
        }
        if let Some(sum) = self.by_lists.get_mut(lists) {
            *sum = sum.saturating_add(objects);
        }
    }

    /// The objects where each list is so long.
    pub(super) fn total(&self, list_length: u64) -> u64 {
        // Horner's method, the innermost lists first.
        let sum = |sum: u64, objects: &u64| sum.saturating_mul(list_length).saturating_add(*objects);
        self.by_lists.iter().rev().fold(0, sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_count_by_the_lists_that_they_are_in() {
        let check = |added: &[(usize, u64)], list_length: u64, expected: u64| {
            let mut cost = Cost::default();
            added.iter().for_each(|(lists, objects)| cost.add(*lists, *objects));
            assert_eq!(cost.total(list_length), expected, "{added:?} of {list_length}");
        };
        check(&[], 10, 0);
        check(&[(0, 2)], 10, 2);
        check(&[(0, 2), (1, 1)], 10, 12);
        check(&[(2, 1), (0, 1), (1, 3), (2, 1)], 10, 231);
        check(&[(2, 1), (0, 1)], 1, 2);
        check(&[(3, 1)], u64::MAX, u64::MAX);
        check(&[(0, u64::MAX), (0, 1)], 1, u64::MAX);
    }
}
