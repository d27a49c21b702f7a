//! Every path through the kernels against a plain model, and against each other: whatever the processor can do, however
//! lines are divided.

use super::*;
use crate::{
    cast::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16, store_f32},
    quantization::{Kind, SCHEMES},
    rows::{Arrangement, Piece},
};
use proptest::prelude::*;

/// All that a conversion may ask of a source that is not quantized yet.
fn works() -> Vec<Work> {
    let cast = |dtype| [false, true].map(|plus_one| Work::Cast { dtype, plus_one });
    let mut works: Vec<Work> = [Dtype::F16, Dtype::Bf16, Dtype::F32].into_iter().flat_map(cast).collect();
    works.push(Work::Copy);
    works.push(Work::Float8 { layout: fp8::E5M2, scale: None });
    works.push(Work::Float8 { layout: fp8::E4M3, scale: Some(0.003) });
    for scheme in SCHEMES {
        if let Kind::Group(group) = scheme.kind {
            works.push(Work::Group { group, dtype: scheme.dtype, transposed: group.transposed });
        }
    }
    works
}

fn run(lines: &Lines, range: Range<usize>, how: &dyn Fn(Run)) -> (Vec<u8>, Vec<u8>) {
    let (value_bytes, scale_bytes) = lines.bytes();
    let mut values = vec![0xAA; range.len() * value_bytes];
    let mut scales = vec![0xAA; range.len() * scale_bytes];
    how(Run { lines, range, values: &mut values, scales: &mut scales });
    (values, scales)
}

fn baseline(run: Run) {
    pulp::NullaryFnOnce::call(run);
}

/// A way to run.
type Way = Box<dyn Fn(Run)>;

/// What this processor has, one after the other.
fn paths() -> Vec<Way> {
    let detected: Way = Box::new(|run| pulp::Arch::new().dispatch(run));
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return vec![detected, Box::new(move |run| pulp::Simd::vectorize(simd, Generic(run)))];
    }
    vec![detected]
}

#[cfg(target_arch = "x86_64")]
struct Generic<'a, 'b>(Run<'a, 'b>);

#[cfg(target_arch = "x86_64")]
impl pulp::WithSimd for Generic<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        pulp::NullaryFnOnce::call(self.0);
    }
}

/// An element as the scheme's type sees it.
fn element(bytes: &[u8], source: Dtype, target: Dtype) -> f32 {
    let half = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
    let value = match source {
        Dtype::F16 => f16_to_f32(half(bytes)),
        Dtype::Bf16 => bf16_to_f32(half(bytes)),
        _ => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
    };
    match target {
        _ if source == target => value,
        Dtype::F16 => f16_to_f32(f32_to_f16(value)),
        Dtype::Bf16 => bf16_to_f32(f32_to_bf16(value)),
        _ => value,
    }
}

/// Codes and stored scale of one group, a step at a time, without NaN.
fn plainly(weights: &[f32], group: Group, dtype: Dtype, transposed: bool) -> (Vec<u32>, u16) {
    let round = |value: f32| if dtype == Dtype::F16 { f16_to_f32(f32_to_f16(value)) } else { value };
    let maximum = group.maximum() as f32;
    let largest = weights.iter().fold(0f32, |largest, weight| largest.max(weight.abs()));
    let exact = largest / maximum;
    let (scale, stored) = match dtype {
        Dtype::F16 => (round(exact), f32_to_f16(exact)),
        Dtype::Bf16 if transposed => (exact, f32_to_bf16(exact)),
        Dtype::Bf16 => (bf16_to_f32(f32_to_bf16(exact)), f32_to_bf16(exact)),
        _ => (exact, store_f32(exact)),
    };
    let code = |weight: &f32| {
        let rounded = round(round(weight / scale) + maximum).round_ties_even();
        let above = if rounded > 0.0 { rounded } else { 0.0 };
        (if above < 2.0 * maximum { above } else { 2.0 * maximum }) as u32
    };
    (weights.iter().map(code).collect(), stored)
}

/// Codes and scales of a whole matrix in the layout of the output.
fn model(lines: &Lines, bytes: &[u8], group: Group, dtype: Dtype, transposed: bool) -> (Vec<u8>, Vec<u8>) {
    let (rows, columns, size) = (lines.rows.rows, lines.rows.columns, lines.source.size() as usize);
    let groups = columns.div_ceil(group.size);
    let (mut words, mut scales) = (vec![0u32; rows * 4 * groups], vec![0u16; rows * groups]);
    for row in 0..rows {
        let elements: Vec<f32> = bytes[row * columns * size..(row + 1) * columns * size]
            .chunks(size)
            .map(|bytes| element(bytes, lines.source, dtype))
            .collect();
        for (index, weights) in elements.chunks(group.size).enumerate() {
            let (codes, scale) = plainly(weights, group, dtype, transposed);
            let place = |along: usize, length: usize| match transposed {
                true => along * rows + row,
                false => row * length + along,
            };
            scales[place(index, groups)] = scale;
            for (position, code) in codes.into_iter().enumerate() {
                let word = 4 * index + position / group.codes_per_word();
                let shift = group.bits as usize * (position % group.codes_per_word());
                words[place(word, 4 * groups)] |= code << shift;
            }
        }
    }
    (
        words.iter().flat_map(|word| word.to_le_bytes()).collect(),
        scales.iter().flat_map(|scale| scale.to_le_bytes()).collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn every_path_and_every_division_gives_the_bytes_of_the_rule(
        source in prop::sample::select(vec![Dtype::F16, Dtype::Bf16, Dtype::F32]),
        rows in 1usize..7,
        columns in 1usize..140,
        cut in any::<prop::sample::Index>(),
        anything in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let size = source.size() as usize;
        let mut state = seed | 1;
        let mut bytes: Vec<u8> = (0..rows * columns * size)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        if !anything {
            // Numbers of usual size, without infinities and NaN.
            for element in bytes.chunks_exact_mut(size) {
                let top = &mut element[size - 1];
                *top = (*top & 0x80) | if source == Dtype::F16 { 0x24 + (*top & 0x0F) } else { 0x3B + (*top & 3) };
            }
        }
        for work in works() {
            let piece = Piece { bytes: &bytes, rows, dtype: source, plus_one: false };
            let rows = Rows::new(vec![piece], Arrangement::Stacked, rows, columns, source);
            let lines = Lines { rows, source, work };
            let all = 0..lines.count();
            let expected = run(&lines, all.clone(), &baseline);
            for path in paths() {
                prop_assert_eq!(&run(&lines, all.clone(), &path), &expected, "{:?}", work);
            }
            let (mut values, mut scales) = run(&lines, 0..cut.index(all.end), &baseline);
            let rest = run(&lines, cut.index(all.end)..all.end, &baseline);
            values.extend(rest.0);
            scales.extend(rest.1);
            prop_assert_eq!((&values, &scales), (&expected.0, &expected.1), "{:?}, in two parts", work);
            if let (Work::Group { group, dtype, transposed }, false) = (work, anything) {
                prop_assert_eq!(&model(&lines, &bytes, group, dtype, transposed), &expected, "{:?}", work);
            }
        }
    }
}
