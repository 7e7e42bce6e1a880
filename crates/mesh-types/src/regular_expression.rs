//! Whether Envoy takes a regular expression. Envoy uses RE2, whose syntax differs from that of Rust's engine in both
//! directions; what only one of them knows is refused, because a proxy that refuses an expression refuses the whole
//! resource that it stands in. Syntax of RE2: <https://github.com/google/re2/wiki/Syntax>.

use regex_syntax::ast::{
    self, AssertionKind, Ast, ClassSetBinaryOp, ClassSetItem, ClassUnicodeKind, Flag, Flags, FlagsItemKind, GroupKind,
    HexLiteralKind, LiteralKind, RepetitionKind, RepetitionRange, Visitor,
};

/// The most that RE2 repeats something, also by repetitions within repetitions.
const MOST_REPETITIONS: u32 = 1000;

/// General categories of Unicode by the names that RE2 knows.
const CATEGORIES: [&str; 37] = [
    "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No", "P",
    "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs", "Any",
];

/// Scripts in present use; RE2 knows more, which a path or header does not need.
const SCRIPTS: [&str; 32] = [
    "Arabic",
    "Armenian",
    "Bengali",
    "Bopomofo",
    "Cherokee",
    "Common",
    "Cyrillic",
    "Devanagari",
    "Ethiopic",
    "Georgian",
    "Greek",
    "Gujarati",
    "Gurmukhi",
    "Han",
    "Hangul",
    "Hebrew",
    "Hiragana",
    "Inherited",
    "Javanese",
    "Kannada",
    "Katakana",
    "Khmer",
    "Lao",
    "Latin",
    "Malayalam",
    "Mongolian",
    "Myanmar",
    "Sinhala",
    "Tamil",
    "Telugu",
    "Thai",
    "Tibetan",
];

/// Checks an expression.
///
/// # Errors
/// A phrase that says what of it Envoy would refuse, or understand differently.
pub fn check(pattern: &str) -> Result<(), String> {
    let parsed = ast::parse::Parser::new().parse(pattern).map_err(|error| error.kind().to_string())?;
    ast::visit(&parsed, Checker { repetitions: Vec::new() })?;
    // Names and ranges have a meaning that the syntax does not show.
    regex::Regex::new(pattern).map_err(|error| last_line(&error.to_string()))?;
    Ok(())
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim().to_owned()
}

struct Checker {
    /// The largest counts of the repetitions around the current place.
    repetitions: Vec<u32>,
}

fn refuse(what: impl std::fmt::Display) -> Result<(), String> {
    Err(format!("{what} is not in RE2's syntax, which Envoy has"))
}

fn flags(flags: &Flags) -> Result<(), String> {
    for item in &flags.items {
        let FlagsItemKind::Flag(flag) = &item.kind else { continue };
        match flag {
            Flag::CaseInsensitive | Flag::MultiLine | Flag::DotMatchesNewLine | Flag::SwapGreed => {}
            Flag::Unicode => return refuse("the flag `u`"),
            Flag::CRLF => return refuse("the flag `R`"),
            Flag::IgnoreWhitespace => return refuse("the flag `x`"),
        }
    }
    Ok(())
}

fn literal(kind: &LiteralKind) -> Result<(), String> {
    match kind {
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
        | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            refuse("an escape by `\\u` or `\\U` (RE2 has `\\x{…}`)")
        }
        _ => Ok(()),
    }
}

fn unicode(class: &ClassUnicodeKind) -> Result<(), String> {
    match class {
        ClassUnicodeKind::OneLetter(letter) if CATEGORIES.contains(&letter.to_string().as_str()) => Ok(()),
        ClassUnicodeKind::Named(name) if CATEGORIES.contains(&name.as_str()) || SCRIPTS.contains(&name.as_str()) => {
            Ok(())
        }
        ClassUnicodeKind::OneLetter(letter) => refuse(format!("the class `\\p{letter}`")),
        ClassUnicodeKind::Named(name) => refuse(format!("the class `\\p{{{name}}}`")),
        ClassUnicodeKind::NamedValue { name, value, .. } => refuse(format!("the class `\\p{{{name}={value}}}`")),
    }
}

fn assertion(kind: &AssertionKind) -> Result<(), String> {
    match kind {
        AssertionKind::StartLine
        | AssertionKind::EndLine
        | AssertionKind::StartText
        | AssertionKind::EndText
        | AssertionKind::WordBoundary
        | AssertionKind::NotWordBoundary => Ok(()),
        _ => refuse("a one-sided word boundary"),
    }
}

/// The largest count of a repetition that has one.
fn count(kind: &RepetitionKind) -> u32 {
    match kind {
        RepetitionKind::Range(
            RepetitionRange::Exactly(count) | RepetitionRange::AtLeast(count) | RepetitionRange::Bounded(_, count),
        ) => (*count).max(1),
        _ => 1,
    }
}

impl Visitor for Checker {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), String> {
        match ast {
            Ast::Flags(set) => flags(&set.flags),
            Ast::Literal(one) => literal(&one.kind),
            Ast::Assertion(one) => assertion(&one.kind),
            Ast::ClassUnicode(class) => unicode(&class.kind),
            Ast::Group(group) => match &group.kind {
                GroupKind::NonCapturing(set) => flags(set),
                GroupKind::CaptureIndex(_) | GroupKind::CaptureName { .. } => Ok(()),
            },
            Ast::Repetition(repetition) => {
                if matches!(*repetition.ast, Ast::Repetition(_)) {
                    return refuse("one repetition directly after another");
                }
                self.repetitions.push(count(&repetition.op.kind));
                let product = self.repetitions.iter().try_fold(1_u32, |product, count| product.checked_mul(*count));
                if product.is_none_or(|product| product > MOST_REPETITIONS) {
                    return Err(format!(
                        "more than {MOST_REPETITIONS} repetitions are refused by RE2, which Envoy has"
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn visit_post(&mut self, ast: &Ast) -> Result<(), String> {
        if matches!(ast, Ast::Repetition(_)) {
            self.repetitions.pop();
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), String> {
        match item {
            ClassSetItem::Literal(one) => literal(&one.kind),
            ClassSetItem::Range(range) => literal(&range.start.kind).and_then(|()| literal(&range.end.kind)),
            ClassSetItem::Unicode(class) => unicode(&class.kind),
            ClassSetItem::Bracketed(_) => refuse("a class inside a class"),
            _ => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ClassSetBinaryOp) -> Result<(), String> {
        refuse("an operation between classes (`&&`, `--`, `~~`)")
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_both_engines_know_passes() {
        for good in [
            "",
            "a",
            "^(.*?;)?(user=jason)(;.*)?$",
            "(?i)abc",
            "(?s-m:a.b)",
            "(?P<name>a)(?<other>b)",
            r"\d+\.\w*\b[^\s\pL\p{Greek}[:alpha:]-]",
            r"\x41\x{1F600}\t",
            "a{2,1000}",
            "(a{10}){100}",
            "a*?b+?c??",
            r"/api/v[0-9]+(/.*)?\z",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_re2_lacks_is_refused() {
        for (bad, reason) in [
            ("(?x)a", "the flag `x`"),
            ("(?x: a)", "the flag `x`"),
            ("(?-u)a", "the flag `u`"),
            ("(?R)a", "the flag `R`"),
            ("[a-z&&[^b]]", "an operation between classes"),
            ("[a-z--b]", "an operation between classes"),
            ("[a[b]]", "a class inside a class"),
            (r"\u{41}", "an escape by"),
            (r"[\u0041]", "an escape by"),
            (r"\b{start}a", "a one-sided word boundary"),
            (r"\<a", "a one-sided word boundary"),
            (r"\p{Alphabetic}", "the class `\\p{Alphabetic}`"),
            (r"\p{Script=Greek}", "the class `\\p{Script=Greek}`"),
            (r"\p{greek}", "the class `\\p{greek}`"),
            ("a**", "one repetition directly after another"),
            ("a{2}{3}", "one repetition directly after another"),
            ("a{1001}", "more than 1000 repetitions"),
            ("(a{100}){11}", "more than 1000 repetitions"),
        ] {
            let found = check(bad).expect_err(bad);
            assert!(found.starts_with(reason) && found.contains("RE2"), "{bad}: {found}");
        }
    }

    #[test]
    fn what_no_engine_knows_is_refused() {
        for bad in ["(", "a)", "[b-a]", "(?=a)", r"(a)\1", "*a", r"\pX"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
