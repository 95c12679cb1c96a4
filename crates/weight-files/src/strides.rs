//! Elements in another order than row by row.

/// Elements of `size` bytes at `strides` elements along each extent of `shape`, row by row.
///
/// # Panics
/// If one is not in `bytes`.
pub(crate) fn gather(bytes: &[u8], size: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let count: usize = shape.iter().product();
    let mut out = Vec::with_capacity(count * size);
    let mut position = vec![0; shape.len()];
    let mut from = 0;
    for _ in 0..count {
        out.extend_from_slice(&bytes[from * size..(from + 1) * size]);
        for ((place, extent), stride) in position.iter_mut().zip(shape).zip(strides).rev() {
            *place += 1;
            from += stride;
            if *place < *extent {
                break;
            }
            from -= stride * extent;
            *place = 0;
        }
    }
    out
}

/// The strides of elements that lie row by row.
pub(crate) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for place in (1..shape.len()).rev() {
        strides[place - 1] = strides[place] * shape[place];
    }
    strides
}

/// The strides of elements of which the first extent runs fastest.
pub(crate) fn column_major(shape: &[usize]) -> Vec<usize> {
    let reversed: Vec<usize> = shape.iter().rev().copied().collect();
    row_major(&reversed).into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_of_a_box() {
        // 2 x 3 x 2, where element (i, j, k) is 100 i + 10 j + k
        let fortran = [0, 100, 10, 110, 20, 120, 1, 101, 11, 111, 21, 121];
        let c = [0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121];
        let shape = [2, 3, 2];
        assert_eq!((row_major(&shape), column_major(&shape)), (vec![6, 2, 1], vec![1, 2, 6]));
        assert_eq!(gather(&fortran, 1, &shape, &column_major(&shape)), c);
        assert_eq!(gather(&c, 1, &shape, &row_major(&shape)), c);
        assert!(gather(&[], 4, &[2, 0, 3], &[0, 3, 1]).is_empty());
    }

    #[test]
    fn views() {
        let row = [1, 2, 3];
        assert_eq!(gather(&row, 1, &[2, 3], &[0, 1]), [1, 2, 3, 1, 2, 3]); // one row twice
        let pairs = [0, 1, 10, 11, 20, 21];
        assert_eq!(gather(&pairs, 2, &[2], &[2]), [0, 1, 20, 21]); // every second one
        assert_eq!(gather(&pairs, 2, &[], &[]), [0, 1]); // a scalar
    }
}
