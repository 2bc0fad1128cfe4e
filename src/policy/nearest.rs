//! The name that a misspelled one was meant to be, for findings that say what to write instead.

/// The candidate that `name` is most likely a misspelling of, if any is close enough.
pub fn nearest<'n>(name: &str, candidates: &[&'n str]) -> Option<&'n str> {
    let length = name.chars().count();
    let near = (length / 3).max(2).min(length.saturating_sub(1));
    candidates
        .iter()
        .map(|candidate| (distance(name, candidate), *candidate))
        .filter(|(distance, _)| *distance <= near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, one row at a time.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut diagonal = index;
        row[0] = index + 1;
        for (column, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_offered_only_when_near() {
        let known = ["listeners", "descriptors", "services"];
        assert_eq!(nearest("listener", &known), Some("listeners"));
        assert_eq!(nearest("descritpors", &known), Some("descriptors"));
        assert_eq!(nearest("frontends", &known), None);
        assert_eq!(nearest("", &known), None);
    }
}
