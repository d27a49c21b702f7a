//! The rows of a parameter, wherever its checkpoint keeps them.

use std::ops::Range;

/// One tensor of a checkpoint, as rows of bytes.
#[derive(Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub bytes: &'a [u8],
    pub rows: usize,
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
}

/// A matrix made of pieces.
pub(crate) struct Rows<'a> {
    pieces: Vec<(usize, Piece<'a>)>,
    arrangement: Arrangement,
    /// The number of rows.
    pub rows: usize,
    /// The number of columns.
    pub columns: usize,
    element: usize,
}

impl<'a> Rows<'a> {
    /// Rows of `columns` elements of `element` bytes. Shapes are checked by the plan.
    pub fn new(
        pieces: Vec<Piece<'a>>,
        arrangement: Arrangement,
        rows: usize,
        columns: usize,
        element: usize,
    ) -> Self {
        let mut start = 0;
        let pieces = pieces.into_iter().map(|piece| {
            let first = start;
            start += piece.rows;
            (first, piece)
        });
        Self { pieces: pieces.collect(), arrangement, rows, columns, element }
    }

    /// The bytes of `columns` of a row; `buffer` is for those that are not stored together.
    #[inline]
    pub fn segment<'b>(&self, row: usize, columns: Range<usize>, buffer: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        let element = self.element;
        let within = columns.start * element..columns.end * element;
        match &self.arrangement {
            Arrangement::Stacked => &self.stored(row)[within],
            Arrangement::Split { outer, parts, inner } => {
                &self.stored(split_row(row, *outer, parts, *inner))[within]
            }
            Arrangement::Transposed => {
                let bytes = self.pieces[0].1.bytes;
                buffer.clear();
                for column in columns {
                    let position = (column * self.rows + row) * element;
                    buffer.extend_from_slice(&bytes[position..position + element]);
                }
                buffer
            }
            Arrangement::Beside => {
                buffer.clear();
                for (_, piece) in &self.pieces {
                    let length = piece.bytes.len() / piece.rows;
                    buffer.extend_from_slice(&piece.bytes[row * length..(row + 1) * length]);
                }
                &buffer[within]
            }
        }
    }

    /// A row as it is stored.
    #[inline]
    fn stored(&self, row: usize) -> &'a [u8] {
        let position = self.pieces.partition_point(|(first, _)| *first <= row) - 1;
        let (first, piece) = self.pieces[position];
        let length = self.columns * self.element;
        &piece.bytes[(row - first) * length..(row - first + 1) * length]
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
        let pieces: Vec<_> = pieces.iter().map(|&(bytes, rows)| Piece { bytes, rows }).collect();
        let count = match arrangement {
            Arrangement::Beside => pieces[0].rows,
            Arrangement::Transposed => pieces[0].bytes.len() / columns,
            _ => pieces.iter().map(|piece| piece.rows).sum(),
        };
        let rows = Rows::new(pieces, arrangement, count, columns, 1);
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
