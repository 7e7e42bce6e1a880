//! Figures as people read them: shares in percent, rare events as "1 in n".

use crate::binomial::Interval;

/// A share of 0..=1 in percent with two decimals, such as `75.32 %`.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// An interval in percent, such as `[73.71, 76.88] %`. Ends are rounded outwards, so that the text never claims more
/// than the numbers.
pub fn interval(interval: Interval) -> String {
    format!("[{:.2}, {:.2}] %", floor_to_hundredth(interval.low * 100.0), ceil_to_hundredth(interval.high * 100.0))
}

/// A number of percent or points without trailing zeros, such as `33.33` or `5`; small ones keep their digits.
pub fn points(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.01 {
        return value.to_string();
    }
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A small probability as a frequency: `1 in 1,000,000`.
pub fn one_in(probability: f64) -> String {
    if probability <= 0.0 {
        return "never".to_owned();
    }
    format!("1 in {}", thousands((1.0 / probability).round() as u64))
}

/// A count with separators: `12,345`.
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn floor_to_hundredth(value: f64) -> f64 {
    (value * 100.0).floor() / 100.0
}

fn ceil_to_hundredth(value: f64) -> f64 {
    (value * 100.0).ceil() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(percent(0.7532), "75.32 %");
        assert_eq!(interval(Interval { low: 0.737_19, high: 0.768_71 }), "[73.71, 76.88] %");
        assert_eq!(points(5.0), "5");
        assert_eq!(points(33.333_333), "33.33");
        assert_eq!(points(0.5), "0.5");
        assert_eq!(points(0.001), "0.001");
        assert_eq!(points(0.0), "0");
        assert_eq!(one_in(1e-6), "1 in 1,000,000");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1000), "1,000");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
