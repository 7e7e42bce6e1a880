//! Finds where a condition that turns from false to true does so.

/// The first number of `low..high` where the condition holds, or `high` where it holds nowhere.
pub(crate) fn first_where(low: u64, high: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (low, high);
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::first_where;

    #[test]
    fn the_first_is_found_wherever_it_is() {
        for at in 3..=9 {
            assert_eq!(first_where(3, 9, |number| number >= at), at);
        }
        assert_eq!(first_where(5, 5, |_| true), 5);
    }
}
