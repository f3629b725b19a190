//! "Did you mean …?" and lists of what would have been right.

/// The candidate that was most likely meant, if any is close.
pub(crate) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        // A short word is two edits away from every other.
        .filter(|(edits, candidate)| {
            *edits <= allowed && 2 * *edits <= word.len() && 2 * *edits <= candidate.len()
        })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// `` `a`, `b`, `c` ``
pub(crate) fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

/// How many insertions, deletions, replacements and swaps of neighbours lead from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{closest, distance, list};

    #[test]
    fn counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("task_id", "tsk_id"), 1);
        assert_eq!(distance("wiat", "wait"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn offers_only_what_is_close() {
        assert_eq!(closest("wiat", ["ttl", "wait"]), Some("wait"));
        assert_eq!(closest("tsk_id", ["column", "task_id"]), Some("task_id"));
        assert_eq!(closest("region", ["column", "task_id"]), None);
        assert_eq!(closest("q", ["p", "id"]), None);
        assert_eq!(closest("key", ["try", "ttl"]), None);
    }

    #[test]
    fn lists_in_backticks() {
        assert_eq!(list(["a", "b"]), "`a`, `b`");
    }
}
