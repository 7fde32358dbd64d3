/* The program that makes a model folder of a base and an adapter. */
#ifndef FL_APP_MERGE_PROGRAM_H
#define FL_APP_MERGE_PROGRAM_H

/* fedllm_merge MODEL ADAPTER OUT [--dtype WORD].  Returns the exit code. */
int fl_program_merge(int argc, char **argv);

#endif
