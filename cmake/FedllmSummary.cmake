# What is on, what is off, and why.
message(STATUS "fedllm ${PROJECT_VERSION}")
message(STATUS "  build type   ${CMAKE_BUILD_TYPE}, sanitizers: ${FL_SANITIZE}")
message(STATUS "  MPI          ${MPI_C_VERSION} (${MPIEXEC_EXECUTABLE})")
message(STATUS "  HDF5         ${HDF5_VERSION}")
message(STATUS "  CUDA         ${FL_HAVE_CUDA} (FL_CUDA=${FL_CUDA}), emulation: ${FL_HAVE_CUDA_EMU}, NCCL: ${FL_HAVE_NCCL}")
message(STATUS "  tests        ${BUILD_TESTING}")
