//! Names that GraphQL allows, and that nothing else has.
//!
//! A short name that several declarations share is given to none of them: each takes the next longer one, with
//! what encloses it, and at last with its package. What is decided depends on the set of declarations alone, not on
//! the order in which files were loaded.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// Something that needs a name among others of its kind.
pub(super) struct Candidate<'a> {
    /// Decides where even the longest names are the same.
    pub full_name: &'a str,
    /// Shortest first; at least one.
    pub names: Vec<String>,
    /// What is appended to the name for each thing that goes by it: nothing, `Input`, or both.
    pub forms: &'static [&'static str],
}

/// A name for each candidate, in their order: unique in each form, and none of `reserved`.
pub(super) fn unique(candidates: &[Candidate<'_>], reserved: &HashSet<&str>) -> Vec<String> {
    let mut levels = vec![0_usize; candidates.len()];
    let name = |index: usize, level: usize| candidates[index].names.get(level).map_or("", String::as_str);
    loop {
        let mut claims: HashMap<(&str, &str), usize> = HashMap::with_capacity(candidates.len());
        for (index, level) in levels.iter().enumerate() {
            for form in candidates[index].forms {
                *claims.entry(normal(name(index, *level), form)).or_default() += 1;
            }
        }
        let clashing: Vec<usize> = (0..candidates.len())
            .filter(|index| levels[*index] + 1 < candidates[*index].names.len())
            .filter(|index| {
                candidates[*index].forms.iter().any(|form| {
                    let name = name(*index, levels[*index]);
                    claims[&normal(name, form)] > 1 || (form.is_empty() && reserved.contains(name))
                })
            })
            .collect();
        if clashing.is_empty() {
            break;
        }
        clashing.into_iter().for_each(|index| levels[index] += 1);
    }
    let chosen: Vec<&str> = levels.iter().enumerate().map(|(index, level)| name(index, *level)).collect();
    numbered(candidates, &chosen, reserved)
}

/// A name in one of its forms, such that `BookInput` is the same however it came about.
fn normal<'n>(name: &'n str, form: &'static str) -> (&'n str, &'static str) {
    match name.strip_suffix("Input") {
        Some(rest) if form.is_empty() && !rest.is_empty() => (rest, "Input"),
        _ => (name, form),
    }
}

/// What is still the same gets a number: `a.b_c` and `a_b.c` are one name without dots.
fn numbered(candidates: &[Candidate<'_>], chosen: &[&str], reserved: &HashSet<&str>) -> Vec<String> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_unstable_by_key(|index| candidates[*index].full_name);
    let mut taken: HashSet<String> = reserved.iter().map(|name| (*name).to_owned()).collect();
    let mut names = vec![String::new(); candidates.len()];
    for index in order {
        let forms = candidates[index].forms;
        let is_free = |name: &str, taken: &HashSet<String>| {
            forms.iter().all(|form| !taken.contains(&format!("{name}{form}")))
        };
        let mut name = chosen[index].to_owned();
        let mut number = 2_usize;
        while !is_free(&name, &taken) {
            name = format!("{}_{number}", chosen[index]);
            number += 1;
        }
        taken.extend(forms.iter().map(|form| format!("{name}{form}")));
        names[index] = name;
    }
    names
}

/// The names of the members of one type: legal ones stay, the others are escaped to what is free.
pub(super) fn members<'a>(declared: impl Iterator<Item = &'a str>) -> Vec<Box<str>> {
    let declared: Vec<(&str, Cow<'_, str>)> = declared.map(|name| (name, legal(name))).collect();
    let mut taken: HashSet<String> = HashSet::with_capacity(declared.len());
    let mut names: Vec<Option<Box<str>>> = Vec::with_capacity(declared.len());
    for (name, legal) in &declared {
        let stays = legal == name && taken.insert((*name).to_owned());
        names.push(stays.then(|| (*name).into()));
    }
    let mut named = Vec::with_capacity(declared.len());
    for (kept, (_, legal)) in names.into_iter().zip(declared) {
        named.push(kept.unwrap_or_else(|| {
            let mut name = legal.into_owned();
            while taken.contains(&name) {
                name.push('_');
            }
            taken.insert(name.clone());
            name.into()
        }));
    }
    named
}

/// A name that GraphQL allows: `[_A-Za-z][_0-9A-Za-z]*`, and not beginning with `__`, which is for introspection.
/// Whatever is changed ends in `_`.
pub(super) fn legal(name: &str) -> Cow<'_, str> {
    let is_legal = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    let begins = name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    if begins && name.bytes().all(is_legal) && !name.starts_with("__") {
        return Cow::Borrowed(name);
    }
    let mut escaped: String = name
        .chars()
        .map(|char| u8::try_from(char).ok().filter(|byte| is_legal(*byte)).map_or('_', char::from))
        .collect();
    if escaped.starts_with("__") {
        escaped = format!("_{}", escaped.trim_start_matches('_'));
    }
    if escaped.starts_with(|first: char| first.is_ascii_digit()) {
        escaped.insert(0, '_');
    }
    escaped.push('_');
    Cow::Owned(if escaped.starts_with("__") { "unnamed_".to_owned() } else { escaped })
}

/// `GetBook`, `get_book` → `getBook`; `HTTPGet` → `httpGet`.
pub(super) fn lower_camel(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut after_underscore = false;
    for char in name.chars() {
        if char == '_' {
            after_underscore = true;
        } else if after_underscore && !camel.is_empty() {
            camel.push(char.to_ascii_uppercase());
            after_underscore = false;
        } else {
            camel.push(char);
            after_underscore = false;
        }
    }
    let capitals = camel.bytes().take_while(u8::is_ascii_uppercase).count();
    // The last capital of several begins the next word, unless a number or the end follows.
    let next_is_lower = camel.as_bytes().get(capitals).is_some_and(u8::is_ascii_lowercase);
    let lowered = if capitals > 1 && next_is_lower { capitals - 1 } else { capitals };
    if let Some(head) = camel.get_mut(..lowered) {
        head.make_ascii_lowercase();
    }
    legal(&camel).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_legal() {
        for (name, expected) in [
            ("a", "a"),
            ("_a", "_a"),
            ("a1", "a1"),
            ("", "_"),
            ("1a", "_1a_"),
            ("a-b", "a_b_"),
            ("@type", "_type_"),
            ("é", "unnamed_"),
            ("__a", "_a_"),
            ("____", "unnamed_"),
            ("[a.b]", "_a_b__"),
        ] {
            assert_eq!(legal(name), expected, "{name}");
        }
    }

    #[test]
    fn methods_are_in_lower_camel_case() {
        for (name, expected) in [
            ("GetBook", "getBook"),
            ("Get", "get"),
            ("get_book", "getBook"),
            ("HTTPGet", "httpGet"),
            ("ID", "id"),
            ("ID2", "id2"),
            ("_1a", "_1a_"),
            ("__", "_"),
            ("X", "x"),
            ("getURL", "getURL"),
        ] {
            assert_eq!(lower_camel(name), expected, "{name}");
        }
    }

    #[test]
    fn members_keep_what_is_legal() {
        let check = |declared: &[&str], expected: &[&str]| {
            let found = members(declared.iter().copied());
            assert_eq!(found.iter().map(|name| &**name).collect::<Vec<_>>(), expected);
        };
        check(&["a", "b"], &["a", "b"]);
        check(&["a-b", "a_b_"], &["a_b__", "a_b_"]);
        check(&["a-b", "a.b"], &["a_b_", "a_b__"]);
        check(&["a", "a"], &["a", "a_"]);
    }

    #[test]
    fn shared_names_grow_alike() {
        const OUT: &[&str] = &[""];
        const BOTH: &[&str] = &["", "Input"];
        let candidate = |names: &[&str], forms: &'static [&'static str]| Candidate {
            full_name: "",
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            forms,
        };
        let check = |candidates: &[Candidate<'_>], expected: &[&str]| {
            assert_eq!(unique(candidates, &HashSet::from(["Query"])), expected);
            let mut reversed = Vec::new();
            for one in candidates.iter().rev() {
                reversed.push(Candidate { full_name: "", names: one.names.clone(), forms: one.forms });
            }
            let mut found = unique(&reversed, &HashSet::from(["Query"]));
            found.reverse();
            assert_eq!(found.len(), expected.len());
        };
        check(&[candidate(&["A", "p_A"], OUT), candidate(&["B", "p_B"], OUT)], &["A", "B"]);
        check(&[candidate(&["A", "p_A"], OUT), candidate(&["A", "q_A"], OUT)], &["p_A", "q_A"]);
        check(&[candidate(&["Query", "p_Query"], OUT)], &["p_Query"]);
        // The input form of one is another's own name.
        check(
            &[candidate(&["A", "p_A"], BOTH), candidate(&["AInput", "q_AInput"], OUT)],
            &["p_A", "q_AInput"],
        );
        // A longer name is somebody's short one.
        let three =
            [candidate(&["A", "p_A"], OUT), candidate(&["A", "q_A"], OUT), candidate(&["p_A", "r_p_A"], OUT)];
        check(&three, &["p_A", "q_A", "r_p_A"]);
        // Even in full the same.
        check(&[candidate(&["A", "p_A"], OUT), candidate(&["A", "p_A"], OUT)], &["p_A", "p_A_2"]);
    }
}
