//! 8-bit floats as the reference's compiler lowers them: integer arithmetic that is not an IEEE conversion.
//!
//! The lowest binade comes out as a subnormal without its hidden bit, everything below as zero without a sign, and
//! overflow wraps. Devices read these bytes, so they are kept.

/// The layout of an 8-bit float.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Layout {
    mantissa: u32,
    bias: u32,
}

/// 4 bits of exponent, 3 of mantissa.
pub(crate) const E4M3: Layout = Layout { mantissa: 3, bias: 7 };
/// 5 bits of exponent, 2 of mantissa.
pub(crate) const E5M2: Layout = Layout { mantissa: 2, bias: 15 };

/// Converts a binary32.
#[inline(always)]
pub(crate) fn convert(value: f32, layout: Layout) -> u8 {
    let bits = value.to_bits();
    let shift = 23 - layout.mantissa;
    let lowest = 127 - layout.bias;
    let rounded = bits.wrapping_add((bits >> shift & 1) + (1 << (shift - 1)) - 1);
    let exponent = rounded << 1 >> 24;
    let field = exponent.wrapping_sub(lowest) << layout.mantissa;
    let mantissa = rounded >> shift & ((1 << layout.mantissa) - 1);
    let byte = rounded >> 31 << 7 | field & 0xFF | mantissa;
    if exponent < lowest { 0 } else { byte as u8 }
}

/// The scale of a tensor for [`E4M3`] whose largest absolute value is `largest`, a value of binary16.
pub(crate) fn scale(largest: f32) -> f32 {
    use crate::cast::round_to_f16;
    let smallest = round_to_f16(1.0 / (448.0 * 512.0));
    let scale = round_to_f16(largest / 448.0);
    if scale > smallest { scale } else { smallest }
}

/// The value of a code, for reports.
pub(crate) fn value(code: u8, layout: Layout) -> f32 {
    let exponent = u32::from(code & 0x7F) >> layout.mantissa;
    let mantissa = f32::from(code & ((1 << layout.mantissa) - 1)) / (1 << layout.mantissa) as f32;
    let sign = if code & 0x80 == 0 { 1.0 } else { -1.0 };
    let all_ones = exponent == (1 << (7 - layout.mantissa)) - 1;
    let magnitude = match layout.mantissa {
        3 if code & 0x7F == 0x7F => f32::NAN,
        2 if all_ones => {
            if mantissa == 0.0 {
                f32::INFINITY
            } else {
                f32::NAN
            }
        }
        _ if exponent == 0 => mantissa * 2f32.powi(1 - layout.bias as i32),
        _ => (1.0 + mantissa) * 2f32.powi(exponent as i32 - layout.bias as i32),
    };
    sign * magnitude
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_values_are_those_of_the_format() {
        for layout in [E4M3, E5M2] {
            for code in 0..=255u8 {
                let value = value(code, layout);
                if value.is_finite() && value.abs() >= 2f32.powi(1 - layout.bias as i32) {
                    assert_eq!(convert(value, layout), code);
                }
            }
        }
        assert_eq!((convert(1.0, E4M3), convert(-1.5, E5M2), convert(448.0, E4M3)), (0x38, 0xBE, 0x7E));
    }

    #[test]
    fn the_lowering_is_not_ieee() {
        // 2^-7 is half of the smallest normal number; its code would be 4, and it loses its hidden bit.
        assert_eq!(convert(f32::powi(2.0, -7), E4M3), 0);
        assert_eq!(convert(1.5 * f32::powi(2.0, -7), E4M3), 4);
        assert_eq!(convert(-f32::powi(2.0, -9), E4M3), 0);
        assert_eq!(convert(512.0, E4M3), 0x80, "overflow wraps");
    }

    #[test]
    fn scales_have_a_floor() {
        assert_eq!(scale(448.0), 1.0);
        assert_eq!(scale(0.0), crate::cast::round_to_f16(1.0 / 229_376.0));
    }
}
