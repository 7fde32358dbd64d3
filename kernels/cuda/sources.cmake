# What both builds compile: for devices, and for the emulation.
set(FL_CUDA_SOURCES adamw attention attention_bwd attention_decode cross_entropy cuda device dropout
  embedding linear memory pool reduce replay rmsnorm rope swiglu transfer)
list(TRANSFORM FL_CUDA_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
list(TRANSFORM FL_CUDA_SOURCES APPEND .cu)
