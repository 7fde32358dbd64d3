/* The training program. */
#ifndef FL_APP_TRAIN_PROGRAM_H
#define FL_APP_TRAIN_PROGRAM_H

/* fedllm_mpi CONFIG [--key value ...].  Returns the exit code. */
int fl_program_train(int argc, char **argv);

#endif
