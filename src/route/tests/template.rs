//! Which texts are templates, what shape they have, and what the refusal of the others says.
//! Columns count characters, from 1.

use crate::route::template::PathTemplate;

/// Shape, then the variables with the segments they span.
fn shown(text: &str) -> String {
    match PathTemplate::parse(text) {
        Ok(template) => template.variables.iter().fold(template.to_string(), |shown, variable| {
            format!("{shown} {}={}..{}", variable.path, variable.start, variable.end)
        }),
        Err(error) => error.to_string(),
    }
}

#[test]
fn templates_are_accepted() {
    for (template, expected) in [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/b/c", "/a/b/c"),
        ("/*", "/*"),
        ("/**", "/**"),
        ("/a/*", "/a/*"),
        ("/a/**", "/a/**"),
        ("/*/*", "/*/*"),
        ("/*/**", "/*/**"),
        ("/**/a", "/**/a"),
        ("/a/**/b", "/a/**/b"),
        ("/a/**/b/*", "/a/**/b/*"),
        ("/**/*", "/**/*"),
        ("/{x}", "/* x=0..1"),
        ("/a/{x}", "/a/* x=1..2"),
        ("/{x}/{y}", "/*/* x=0..1 y=1..2"),
        ("/{x=*}", "/* x=0..1"),
        ("/{x=**}", "/** x=0..1"),
        ("/{x=a}", "/a x=0..1"),
        ("/{x=a/*}", "/a/* x=0..2"),
        ("/v1/{x=a/*/b/*}", "/v1/a/*/b/* x=1..5"),
        ("/v1/{x=a/**}", "/v1/a/** x=1..3"),
        ("/v1/{x=a/**}/b/{y}", "/v1/a/**/b/* x=1..3 y=4..5"),
        ("/v1/{x=**}/b", "/v1/**/b x=1..2"),
        ("/{x.y}", "/* x.y=0..1"),
        ("/{x.y.z=a/*}", "/a/* x.y.z=0..2"),
        ("/{_x1}", "/* _x1=0..1"),
        ("/{X}", "/* X=0..1"),
        ("/a:b", "/a:b"),
        ("/*:b", "/*:b"),
        ("/**:b", "/**:b"),
        ("/{x}:b", "/*:b x=0..1"),
        ("/a/{x=b/*}:c", "/a/b/*:c x=1..3"),
        ("/a/{x=**}:c-d", "/a/**:c-d x=1..2"),
        ("/a-b_c.d~e", "/a-b_c.d~e"),
        ("/a!$&'()+,;=@", "/a!$&'()+,;=@"),
        ("/.", "/."),
        ("/..", "/.."),
        ("/%61", "/a"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%3Ab", "/a%3Ab"),
        ("/é", "/%C3%A9"),
        ("/a:%62", "/a:b"),
        ("/pkg.Service/Method", "/pkg.Service/Method"),
        ("/{a}/{a.b}", "/*/* a=0..1 a.b=1..2"),
    ] {
        assert_eq!(shown(template), expected, "{template}");
    }
}

#[test]
fn templates_are_refused_with_column_and_expectation() {
    for (template, expected) in [
        ("", "column 1: expected `/`"),
        ("a", "column 1: expected `/`, found `a`"),
        ("*", "column 1: expected `/`, found `*`"),
        ("{x}", "column 1: expected `/`, found `{`"),
        ("//", "column 2: expected a segment, found `/`"),
        ("/a/", "column 4: expected a segment"),
        ("/a//b", "column 4: expected a segment, found `/`"),
        ("/:a", "column 2: expected a segment, found `:`"),
        ("/a:", "column 4: expected a verb"),
        ("/a:*", "column 4: expected a verb, found `*`"),
        ("/a:b:c", "column 5: expected the end of the template, found `:`"),
        ("/a:b/c", "column 5: expected the end of the template, found `/`"),
        ("/a:{b}", "column 4: expected a verb, found `{`"),
        ("/a*", "column 3: expected `/`, `:` or the end of the template, found `*`"),
        ("/*a", "column 3: expected `/`, `:` or the end of the template, found `a`"),
        ("/***", "column 4: expected `/`, `:` or the end of the template, found `*`"),
        ("/**/**", "column 5: a second `**`"),
        ("/{x=**}/a/{y=**}", "column 14: a second `**`"),
        ("/{x=**/**}", "column 8: a second `**`"),
        ("/{", "column 3: expected a field name"),
        ("/{}", "column 3: expected a field name, found `}`"),
        ("/{1x}", "column 3: expected a field name, found `1`"),
        ("/{x-y}", "column 4: expected `.`, `=` or `}`, found `-`"),
        ("/{x", "column 4: expected `.`, `=` or `}`"),
        ("/{x.}", "column 5: expected a field name, found `}`"),
        ("/{x..y}", "column 5: expected a field name, found `.`"),
        ("/{.x}", "column 3: expected a field name, found `.`"),
        ("/{x=}", "column 5: expected a segment, found `}`"),
        ("/{x=", "column 5: expected a segment"),
        ("/{x=a", "column 6: expected `/` or `}`"),
        ("/{x=a/}", "column 7: expected a segment, found `}`"),
        ("/{x=/a}", "column 5: expected a segment, found `/`"),
        ("/{x=a:b}", "column 6: expected `/` or `}`, found `:`"),
        ("/{x={y}}", "column 5: a variable within a variable"),
        ("/{x=a/{y}}", "column 7: a variable within a variable"),
        ("/{x}/{x}", "column 7: `x` is captured twice"),
        ("/{x}a", "column 5: expected `/`, `:` or the end of the template, found `a`"),
        ("/a{x}", "column 3: expected `/`, `:` or the end of the template, found `{`"),
        ("/a}", "column 3: expected `/`, `:` or the end of the template, found `}`"),
        ("/a b", "column 3: expected `/`, `:` or the end of the template, found ` `"),
        ("/a?b", "column 3: expected `/`, `:` or the end of the template, found `?`"),
        ("/a#b", "column 3: expected `/`, `:` or the end of the template, found `#`"),
        ("/a\\b", "column 3: expected `/`, `:` or the end of the template, found `\\\\`"),
        ("/a\n", "column 3: expected `/`, `:` or the end of the template, found `\\n`"),
        ("/é ", "column 3: expected `/`, `:` or the end of the template, found ` `"),
        ("/é%", "column 3: `%` is not followed by two hexadecimal digits"),
        ("/a%2", "column 3: `%` is not followed by two hexadecimal digits"),
        ("/%00", "column 2: a NUL character"),
        ("/%ff", "column 2: escapes that are not UTF-8"),
        ("/a:%zz", "column 4: `%` is not followed by two hexadecimal digits"),
    ] {
        assert_eq!(shown(template), expected, "{template}");
    }
}

#[test]
fn a_template_has_at_most_64_segments() {
    assert_eq!(shown(&"/a".repeat(64)), "/a".repeat(64));
    assert_eq!(shown(&"/a".repeat(65)), "column 130: more than 64 segments");
    assert_eq!(shown(&format!("{}/{{x}}", "/a".repeat(63))), format!("{}/* x=63..64", "/a".repeat(63)));
    assert_eq!(shown(&format!("{}/{{x}}", "/a".repeat(64))), "column 132: more than 64 segments");
}

#[test]
fn a_field_path_has_at_most_32_names() {
    let template = |names: usize| format!("/{{{}}}", vec!["x"; names].join("."));
    assert!(PathTemplate::parse(&template(32)).is_ok());
    assert_eq!(shown(&template(33)), "column 67: more than 32 names in a field path");
}

#[test]
fn no_text_panics_the_parser() {
    bolero::check!().with_type::<String>().for_each(|text| {
        if let Ok(template) = PathTemplate::parse(text) {
            // The shape is a template again, and of the same shape.
            let shape = template.to_string();
            assert_eq!(PathTemplate::parse(&shape).expect("a shape is a template").to_string(), shape);
        }
    });
}

#[test]
fn no_likely_text_panics_the_parser() {
    let pieces = ["/", "*", "{", "}", "=", ":", ".", "a", "%2F", "%", "é"];
    bolero::check!().with_type::<Vec<u8>>().for_each(|picks| {
        let text: String = picks.iter().map(|pick| pieces[usize::from(*pick) % pieces.len()]).collect();
        if let Ok(template) = PathTemplate::parse(&text) {
            let shape = template.to_string();
            assert_eq!(PathTemplate::parse(&shape).expect("a shape is a template").to_string(), shape);
        }
    });
}
