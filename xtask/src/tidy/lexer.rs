//! Just enough of Rust's lexing to tell code from comments and literals.

/// Blanks comments and the contents of string and character literals. The length in lines stays the same.
pub(super) fn blank(text: &str) -> String {
    let signs: Vec<char> = text.chars().collect();
    let mut blanked = String::with_capacity(text.len());
    let mut at = 0;
    while at < signs.len() {
        let length = skipped(&signs, at);
        if length == 0 {
            blanked.push(signs[at]);
            at += 1;
            continue;
        }
        blanked.extend(signs[at..at + length].iter().map(|sign| if *sign == '\n' { '\n' } else { ' ' }));
        at += length;
    }
    blanked
}

/// How many signs from here belong to one comment or literal; 0 where neither begins.
fn skipped(signs: &[char], at: usize) -> usize {
    let rest = &signs[at..];
    let in_word = at > 0 && (signs[at - 1].is_alphanumeric() || signs[at - 1] == '_');
    match rest {
        ['/', '/', ..] => rest.iter().position(|sign| *sign == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => quoted(rest, 1, '"'),
        ['b' | 'c', '"', ..] if !in_word => quoted(rest, 2, '"'),
        ['r', '"' | '#', ..] if !in_word => raw(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] if !in_word => raw(rest, 2),
        ['b', '\'', ..] if !in_word => quoted(rest, 2, '\''),
        ['\'', '\\', ..] => quoted(rest, 1, '\''),
        // `'a'` is a character and `'a` a lifetime.
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => {
                depth += 1;
                at += 2;
            }
            ['*', '/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

fn quoted(rest: &[char], start: usize, quote: char) -> usize {
    let mut at = start;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            sign if sign == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A raw string; 0 for a raw name such as `r#type`.
fn raw(rest: &[char], start: usize) -> usize {
    let hashes = rest[start..].iter().take_while(|sign| **sign == '#').count();
    if rest.get(start + hashes) != Some(&'"') {
        return 0;
    }
    let mut at = start + hashes + 1;
    while at < rest.len() {
        if rest[at] == '"' && rest[at + 1..].iter().take_while(|sign| **sign == '#').count() >= hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_go_and_code_stays() {
        let text = "let a = \"unsafe \\\" {\"; // unsafe\n/* unsafe /* nested */ unsafe */ let b = r#\"unsafe \" {\"#;\nb'\"'; 'x'; '\\''; fn f<'a>() {} let r#unsafe = br\"unsafe\"; done";
        let code = blank(text);
        assert_eq!(code.matches("unsafe").count(), 1, "{code}");
        assert!(code.contains("let r#unsafe =") && code.contains("fn f<'a>() {}") && code.ends_with("done"), "{code}");
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn what_does_not_end_reaches_to_the_end() {
        for text in ["\"open", "/* open", "r#\"open\"", "b\"open\\"] {
            assert_eq!(blank(text).trim(), "", "{text}");
        }
    }
}
