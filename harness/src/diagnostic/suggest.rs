//! "Did you mean": the known word nearest to an unknown one.

/// The candidate that an unknown word most likely stands for, if any is near enough.
#[must_use]
pub fn nearest<'word>(unknown: &str, known: impl IntoIterator<Item = &'word str>) -> Option<&'word str> {
    // A word of which nothing is left has not been misspelt.
    let length = unknown.chars().count();
    let limit = (length / 3).max(1).min(length.saturating_sub(1));
    known
        .into_iter()
        .map(|candidate| (distance(&fold(unknown), &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Help for an unknown word: the nearest known one, or all of them.
#[must_use]
pub fn help<'word>(unknown: &str, known: impl IntoIterator<Item = &'word str> + Clone) -> String {
    if let Some(candidate) = nearest(unknown, known.clone()) {
        return format!("did you mean `{candidate}`?");
    }
    let all: Vec<String> = known.into_iter().map(|word| format!("`{word}`")).collect();
    match all.as_slice() {
        [] => "nothing is allowed here".to_owned(),
        [only] => format!("only {only} is known here"),
        [first @ .., last] => format!("known are {} and {last}", first.join(", ")),
    }
}

fn fold(word: &str) -> Vec<char> {
    word.chars().filter(|character| !matches!(character, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// Edits (insert, delete, replace, swap of neighbours) that turn one word into the other.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(a != b);
            let mut best = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["podSubnet", "serviceSubnet", "network", "region"];
        assert_eq!(nearest("pod_subnet", known), Some("podSubnet"));
        assert_eq!(nearest("podsubnet", known), Some("podSubnet"));
        assert_eq!(nearest("netwrok", known), Some("network"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest("c", ["a", "b"]), None);
        assert_eq!(nearest("v4", ["v1"]), Some("v1"));
    }

    #[test]
    fn help_names_the_alternatives() {
        assert_eq!(help("regin", ["region", "zone"]), "did you mean `region`?");
        assert_eq!(help("colour", ["region", "zone"]), "known are `region` and `zone`");
        assert_eq!(help("colour", ["zone"]), "only `zone` is known here");
    }
}
