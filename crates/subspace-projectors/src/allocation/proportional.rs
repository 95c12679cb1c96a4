//! Dividing coordinates in proportion, with a limit for each share.

/// `total` in whole shares proportional to `weights`, by largest remainder, the first of equal
/// remainders; none above its limit, what is cut off going to the others in the same way; and none
/// empty, as long as there are as many as shares: the largest share gives one up. If the limits have
/// no room for `total`, each is at its own.
pub(super) fn proportional(total: usize, weights: &[usize], most: &[usize]) -> Vec<usize> {
    let mut shares = most.to_vec();
    let mut open: Vec<usize> = (0..weights.len()).collect();
    let mut left = total;
    loop {
        let sum: u128 = open.iter().map(|&it| weights[it] as u128).sum();
        let over = |it: &usize| left as u128 * weights[*it] as u128 > most[*it] as u128 * sum;
        let (full, rest): (Vec<usize>, Vec<usize>) = open.iter().copied().partition(over);
        if full.is_empty() {
            divide(left, weights, &open, sum, &mut shares);
            break;
        }
        left -= full.iter().map(|&it| most[it]).sum::<usize>().min(left);
        open = rest;
    }
    while total >= shares.len()
        && let Some(empty) =
            shares.iter().zip(most).position(|(&share, &most)| share == 0 && most > 0)
        && let Some(largest) = (0..shares.len()).rev().max_by_key(|&it| shares[it])
        && shares[largest] > 1
    {
        shares[empty] += 1;
        shares[largest] -= 1;
    }
    shares
}

fn divide(left: usize, weights: &[usize], open: &[usize], sum: u128, shares: &mut [usize]) {
    let exact = |it: usize| left as u128 * weights[it] as u128;
    for &it in open {
        shares[it] = (exact(it) / sum.max(1)) as usize;
    }
    let given: usize = open.iter().map(|&it| shares[it]).sum();
    let mut by_remainder = open.to_vec();
    by_remainder.sort_by_key(|&it| std::cmp::Reverse(exact(it) % sum.max(1)));
    for &it in by_remainder.iter().take(left.saturating_sub(given)) {
        shares[it] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: [usize; 4] = [usize::MAX >> 8; 4];

    #[test]
    fn largest_remainders() {
        assert_eq!(proportional(10, &[1, 1, 1], &FREE[..3]), [4, 3, 3]);
        assert_eq!(proportional(10, &[50, 30, 15, 5], &FREE), [4, 3, 2, 1]); // 5, 3, 1.5, 0.5; none empty
        // GPT-2 small at d = 20 000 without limits.
        let weights = [vec![12_288; 12], vec![204_288]].concat();
        let shares = proportional(20_000, &weights, &weights);
        assert_eq!(shares[0], 699);
        assert_eq!(shares[12], 11_616);
        assert_eq!(shares.iter().sum::<usize>(), 20_000);
    }

    #[test]
    fn what_is_cut_off_goes_to_the_others() {
        assert_eq!(proportional(10, &[1, 1, 8], &[9, 9, 4]), [3, 3, 4]);
        assert_eq!(proportional(10, &[1, 2, 8], &[9, 3, 4]), [3, 3, 4]); // 2 of 6 is 2, 4 above 3
        assert_eq!(proportional(10, &[1, 1], &[2, 3]), [2, 3]);
    }

    #[test]
    fn no_share_is_empty_if_there_are_enough() {
        assert_eq!(proportional(5, &[1, 1, 1_000], &[9, 9, 999]), [1, 1, 3]);
        assert_eq!(proportional(2, &[1, 1, 1_000], &[9, 9, 999]), [0, 0, 2]);
        assert_eq!(proportional(3, &[1, 0, 1_000], &[9, 0, 999]), [1, 0, 2]);
    }
}
