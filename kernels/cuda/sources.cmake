# What both builds compile: for devices, and for the emulation.
set(FL_CUDA_SOURCES act adamw attention attention_bwd attention_decode attention_mma
  attention_mma_bwd attention_mma_dkv attention_mma_dq cross_entropy cuda device dropout embedding
  linear linears lora lora_dy lora_finish lora_narrow lora_outer lora_wide memory plans pool product
  reduce replay rmsnorm rope swiglu transfer update)
list(TRANSFORM FL_CUDA_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
list(TRANSFORM FL_CUDA_SOURCES APPEND .cu)
