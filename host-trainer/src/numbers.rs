//! Numbers written for people.

/// A share in per cent, with two decimals: one image of 10,000 shows.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// A whole number with its thousands apart: `1,234,567`.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Probability of a class, by softmax.
pub(crate) fn softmax(logits: &[f32], class: usize) -> f64 {
    let of_class = f64::from(logits[class]);
    1.0 / logits.iter().map(|&logit| (f64::from(logit) - of_class).exp()).sum::<f64>()
}

/// Four significant figures, without an exponent where that is as short.
pub(crate) fn figures(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        "0".into()
    } else if !(1e-3..1e6).contains(&magnitude) {
        let text = format!("{value:.2e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        format!("{}e{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.')).replace('-', "−")
    } else {
        let decimals = (3 - magnitude.log10().floor() as i32).max(0) as usize;
        let text = format!("{value:.decimals$}");
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        text.replace('-', "−")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(["0", "999", "1,000", "60,000", "1,234,567"], [0, 999, 1000, 60_000, 1_234_567].map(thousands)[..]);
        assert_eq!(percent(0.868), "86.80 %");
    }

    #[test]
    fn softmax_is_a_probability() {
        let mut logits = [0.0; 10];
        assert!((softmax(&logits, 3) - 0.1).abs() < 1e-12);
        logits[3] = 1000.0;
        assert_eq!((softmax(&logits, 3), softmax(&logits, 4)), (1.0, 0.0));
    }
}
