//! The rows of a parameter, wherever its checkpoint keeps them.

use crate::{cast::recast, dtype::Dtype};
use std::ops::Range;

/// One tensor of a checkpoint, as rows of bytes.
#[derive(Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub bytes: &'a [u8],
    pub rows: usize,
    pub dtype: Dtype,
    /// Whether one is added where elements are cast to the type of the rows.
    pub plus_one: bool,
}

/// How a parameter's rows are found in its pieces.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Arrangement {
    /// Pieces follow one another.
    Stacked,
    /// Pieces stand side by side: a row is made of one row of each.
    Beside,
    /// The only piece is stored `[columns, rows]`.
    Transposed,
    /// The rows of the only piece are `[outer, sum of parts, inner]` and become the parts one after another, each
    /// `[outer, part, inner]`.
    Split { outer: usize, parts: Vec<usize>, inner: usize },
    /// The rows of the only piece are blocks of `block`; of each, `part` rows from `start` on are taken.
    Slice { block: usize, start: usize, part: usize },
    /// The same, and what is taken of each block is transposed: its columns become rows.
    TransposedSlice { block: usize, start: usize, part: usize },
}

/// A matrix made of pieces.
pub(crate) struct Rows<'a> {
    pieces: Vec<(usize, Piece<'a>)>,
    arrangement: Arrangement,
    /// The number of rows.
    pub rows: usize,
    /// The number of columns.
    pub columns: usize,
    /// The type of the elements. Pieces of another are cast to it.
    dtype: Dtype,
}

impl<'a> Rows<'a> {
    /// Rows of `columns` elements of `dtype`. Shapes and types are checked by the plan.
    pub fn new(
        pieces: Vec<Piece<'a>>,
        arrangement: Arrangement,
        rows: usize,
        columns: usize,
        dtype: Dtype,
    ) -> Self {
        let mut start = 0;
        let pieces = pieces.into_iter().map(|piece| {
            let first = start;
            start += piece.rows;
            (first, piece)
        });
        Self { pieces: pieces.collect(), arrangement, rows, columns, dtype }
    }

    /// The bytes of `columns` of a row; `buffer` is for those that are not stored together, or as another type.
    #[inline]
    pub fn segment<'b>(&self, row: usize, columns: Range<usize>, buffer: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        let stored = match &self.arrangement {
            Arrangement::Stacked => row,
            Arrangement::Split { outer, parts, inner } => split_row(row, *outer, parts, *inner),
            Arrangement::Slice { block, start, part } => row / part * block + start + row % part,
            Arrangement::TransposedSlice { block, start, .. } => {
                let piece = self.pieces[0].1;
                let stored = piece.bytes.len() / piece.rows / piece.dtype.size() as usize;
                let first = row / stored * block + start;
                return self.gathered(
                    piece,
                    buffer,
                    columns.map(|column| (first + column) * stored + row % stored),
                );
            }
            Arrangement::Transposed => {
                let rows = self.rows;
                return self.gathered(self.pieces[0].1, buffer, columns.map(|column| column * rows + row));
            }
            Arrangement::Beside => {
                let element = self.dtype.size() as usize;
                buffer.clear();
                for (_, piece) in &self.pieces {
                    let length = piece.bytes.len() / piece.rows;
                    buffer.extend_from_slice(&piece.bytes[row * length..(row + 1) * length]);
                }
                return &buffer[columns.start * element..columns.end * element];
            }
        };
        let position = self.pieces.partition_point(|(first, _)| *first <= stored) - 1;
        let (first, piece) = self.pieces[position];
        let element = piece.dtype.size() as usize;
        let start = (stored - first) * self.columns;
        let bytes = &piece.bytes[(start + columns.start) * element..(start + columns.end) * element];
        if piece.dtype == self.dtype {
            return bytes;
        }
        buffer.clear();
        recast(piece.dtype, self.dtype, piece.plus_one, bytes, buffer);
        buffer
    }

    /// Elements of a piece at these positions.
    fn gathered<'b>(
        &self,
        piece: Piece,
        buffer: &'b mut Vec<u8>,
        positions: impl Iterator<Item = usize>,
    ) -> &'b [u8] {
        let element = piece.dtype.size() as usize;
        buffer.clear();
        for position in positions {
            buffer.extend_from_slice(&piece.bytes[position * element..(position + 1) * element]);
        }
        if piece.dtype != self.dtype {
            let stored = std::mem::take(buffer);
            recast(piece.dtype, self.dtype, piece.plus_one, &stored, buffer);
        }
        buffer
    }
}

/// The stored row that becomes `row`.
fn split_row(row: usize, outer: usize, parts: &[usize], inner: usize) -> usize {
    let total: usize = parts.iter().sum();
    let mut before = 0;
    for part in parts {
        let start = outer * before * inner;
        if row < start + outer * part * inner {
            let (block, rest) = ((row - start) / (part * inner), (row - start) % (part * inner));
            return (block * total + before) * inner + rest;
        }
        before += part;
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(arrangement: Arrangement, pieces: &[(&'static [u8], usize)], columns: usize) -> Vec<Vec<u8>> {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|&(bytes, rows)| Piece { bytes, rows, dtype: Dtype::F8E4M3, plus_one: false })
            .collect();
        let count = match arrangement {
            Arrangement::Beside => pieces[0].rows,
            Arrangement::Transposed => pieces[0].bytes.len() / columns,
            _ => pieces.iter().map(|piece| piece.rows).sum(),
        };
        let rows = Rows::new(pieces, arrangement, count, columns, Dtype::F8E4M3);
        let mut buffer = Vec::new();
        (0..count).map(|row| rows.segment(row, 0..columns, &mut buffer).to_vec()).collect()
    }

    #[test]
    fn query_key_and_value_follow_one_another() {
        assert_eq!(rows(Arrangement::Stacked, &[(b"abcd", 2), (b"ef", 1)], 2), [b"ab", b"cd", b"ef"]);
    }

    #[test]
    fn packed_columns_stand_side_by_side() {
        assert_eq!(rows(Arrangement::Beside, &[(b"abcd", 2), (b"ef", 2)], 3), [b"abe", b"cdf"]);
    }

    #[test]
    fn a_convolution_is_transposed() {
        assert_eq!(rows(Arrangement::Transposed, &[(b"abcdef", 2)], 2), [b"ad", b"be", b"cf"]);
    }

    #[test]
    fn a_part_of_every_head_is_taken_and_perhaps_transposed() {
        let taken = |arrangement, rows_count, columns| {
            let piece = Piece { bytes: b"abcdefghijkl", rows: 6, dtype: Dtype::F8E4M3, plus_one: false };
            let rows = Rows::new(vec![piece], arrangement, rows_count, columns, Dtype::F8E4M3);
            let mut buffer = Vec::new();
            let row = |row| String::from_utf8(rows.segment(row, 0..columns, &mut buffer).to_vec()).unwrap();
            (0..rows_count).map(row).collect::<Vec<_>>()
        };
        // Two heads of three rows: the last, and the first two transposed.
        assert_eq!(taken(Arrangement::Slice { block: 3, start: 2, part: 1 }, 2, 2), ["ef", "kl"]);
        let transposed = Arrangement::TransposedSlice { block: 3, start: 0, part: 2 };
        assert_eq!(taken(transposed, 4, 2), ["ac", "bd", "gi", "hj"]);
    }

    #[test]
    fn heads_are_separated_into_query_key_and_value() {
        // Two heads of q, k, v with a dimension of 2 each, as GPT-NeoX interleaves them.
        let neox = Arrangement::Split { outer: 2, parts: vec![1, 1, 1], inner: 2 };
        let stored = b"QRKLVW qrklvw";
        let bytes: Vec<u8> = stored.iter().copied().filter(|byte| *byte != b' ').collect();
        let order: Vec<u8> = (0..12).map(|row| bytes[split_row(row, 2, &[1, 1, 1], 2)]).collect();
        assert_eq!(order, b"QRqrKLklVWvw");
        assert_eq!(rows(neox, &[(b"QRKLVWqrklvw", 12)], 1).concat(), b"QRqrKLklVWvw");
        // InternLM2: a key-value head with two query heads.
        let order: Vec<u8> = (0..8).map(|row| b"QRKVqrkv"[split_row(row, 2, &[2, 1, 1], 1)]).collect();
        assert_eq!(order, b"QRqrKkVv");
    }
}
