/* Threads that wait for work: they look for it a little while and then sleep, so that ranks which
 * share cores do not take them from one another.  (An OpenMP runtime decides that from the
 * environment, and by default keeps spinning.) */
#ifndef FL_KERNELS_CPU_POOL_H
#define FL_KERNELS_CPU_POOL_H

/* fn(part, arg) once for each part in [0, parts), part 0 on the calling thread, each other on a thread
 * of its own; returns when all are done.  For one calling thread.  Where no more threads can be had, the
 * calling one does the rest. */
void fl_pool_run(int parts, void (*fn)(int part, void *arg), void *arg);

#endif
