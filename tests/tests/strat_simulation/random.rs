//! Random numbers from fixed seeds, with the distributions that the loads need.

use std::f64::consts::TAU;

/// xorshift128+.
pub struct Random([u64; 2]);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Self([seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, 0x2545_F491_4F6C_DD1D]);
        for _ in 0..20 {
            random.next();
        }
        random
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        let [mut a, b] = self.0;
        a ^= a << 23;
        self.0 = [b, a ^ b ^ (a >> 17) ^ (b >> 26)];
        self.0[1].wrapping_add(b)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// From zero to one.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with a chance of `part`.
    pub fn chance(&mut self, part: f64) -> bool {
        self.unit() < part
    }

    /// By its median and the deviation of its logarithm.
    pub fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        let normal = (-2.0 * (self.unit() + 1e-300).ln()).sqrt() * (TAU * self.unit()).cos();
        median * (sigma * normal).exp()
    }

    /// By its mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (self.unit() + 1e-300).ln()
    }
}
