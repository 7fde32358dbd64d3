# The cuda backend where nvcc is, NCCL where its header is, and the emulation where a C++ compiler is.
set(FL_CUDA AUTO CACHE STRING "The cuda backend: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE FL_CUDA PROPERTY STRINGS AUTO ON OFF)
include(CheckLanguage)

set(FL_HAVE_CUDA OFF)
if(FL_CUDA STREQUAL "AUTO" AND FL_SANITIZE) # nothing that sanitizers see would be in it
  set(FL_CUDA_WANTED OFF)
else()
  set(FL_CUDA_WANTED ${FL_CUDA})
endif()
if(FL_CUDA_WANTED)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80 90) # there may be no device here to ask
    endif()
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
    set(FL_HAVE_CUDA ON)
  elseif(FL_CUDA STREQUAL "ON")
    message(FATAL_ERROR "FL_CUDA is ON and there is no nvcc")
  endif()
endif()

# Sums between devices: the header here, the library where the program runs.
set(FL_HAVE_NCCL OFF)
if(FL_HAVE_CUDA)
  find_path(FL_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  if(FL_NCCL_INCLUDE)
    set(FL_HAVE_NCCL ON)
  endif()
endif()

check_language(CXX)
set(emu_default OFF)
if(CMAKE_CXX_COMPILER AND NOT FL_SANITIZE MATCHES "thread") # it does not know our fibres
  set(emu_default ON)
endif()
option(FL_CUDA_EMU "The cuda backend run by the host, for tests" ${emu_default})
set(FL_HAVE_CUDA_EMU ${FL_CUDA_EMU})
if(FL_HAVE_CUDA_EMU)
  enable_language(CXX)
endif()
