/* The most multiply-adds one core can do: independent chains on registers alone. */
#ifndef FL_KERNELS_BENCH_PEAK_H
#define FL_KERNELS_BENCH_PEAK_H

/* GFLOP/s of that instruction set (see isa.h), measured now; 0 where it is not known how. */
double fl_bench_peak(const char *isa);

#endif
