/* The most multiply-adds one core can do: independent chains on registers alone. */
#ifndef FL_KERNELS_BENCH_PEAK_H
#define FL_KERNELS_BENCH_PEAK_H

/* GFLOP/s of the widest instruction set here, measured now; 0 where it is not known how. */
double fl_bench_peak(void);

#endif
