# One way to declare a module and one way to declare a test.

add_library(fl_flags INTERFACE)
target_include_directories(fl_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_definitions(fl_flags INTERFACE _POSIX_C_SOURCE=200809L)
set(warnings -Wall -Wextra -Wundef)
target_compile_options(fl_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:C>:${warnings};-Wpedantic;-Wshadow;-Wconversion;-Wno-sign-conversion>"
  "$<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes;-Wmissing-prototypes;-Wvla>"
  "$<$<COMPILE_LANGUAGE:CXX>:${warnings};-fno-exceptions;-fno-rtti>"
  "$<$<COMPILE_LANGUAGE:C,CXX>:-fno-math-errno;-ffp-contract=off>")
if(FL_WERROR)
  target_compile_options(fl_flags INTERFACE "$<$<COMPILE_LANGUAGE:C,CXX>:-Werror>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>")
endif()
if(FL_SANITIZE)
  target_compile_options(fl_flags INTERFACE
    "$<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${FL_SANITIZE};-fno-omit-frame-pointer>")
  target_link_options(fl_flags INTERFACE -fsanitize=${FL_SANITIZE})
endif()
target_link_libraries(fl_flags INTERFACE m)

# fl_add_module(base SOURCES a.c b.c DEPENDS tensor LIBRARIES PkgConfig::JANSSON)
# makes the static library fl_base.  DEPENDS are modules, LIBRARIES are anything else.
function(fl_add_module name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LIBRARIES" ${ARGN})
  add_library(fl_${name} STATIC ${ARG_SOURCES})
  list(TRANSFORM ARG_DEPENDS PREPEND fl_)
  target_link_libraries(fl_${name} PUBLIC fl_flags ${ARG_DEPENDS} PRIVATE ${ARG_LIBRARIES})
endfunction()

# fl_add_test(unit.rng SOURCES test_rng.c LINK base LABELS unit [NP 2] [TIMEOUT 60] [ARGS ...])
# makes the program test_rng (named after its first source) and registers it.  With NP it runs
# under mpirun.  Exit code 77 counts as skipped.
function(fl_add_test name)
  cmake_parse_arguments(ARG "" "NP;TIMEOUT" "SOURCES;LINK;LABELS;ARGS" ${ARGN})
  list(GET ARG_SOURCES 0 first)
  get_filename_component(target ${first} NAME_WE)
  if(NOT TARGET ${target})
    add_executable(${target} ${ARG_SOURCES})
    list(TRANSFORM ARG_LINK PREPEND fl_)
    target_link_libraries(${target} PRIVATE ${ARG_LINK} PkgConfig::CMOCKA)
    target_compile_definitions(${target} PRIVATE
      FL_TEST_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
      FL_TEST_SHARED_DATA="${PROJECT_SOURCE_DIR}/../shared/data")
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  endif()
  set(command $<TARGET_FILE:${target}> ${ARG_ARGS})
  if(ARG_NP)
    set(command ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ARG_NP} ${command})
  endif()
  fl_register_test(${name} COMMAND ${command} LABELS ${ARG_LABELS} TIMEOUT ${ARG_TIMEOUT} NP ${ARG_NP})
endfunction()

# fl_register_test(system.help COMMAND bash test_help.sh LABELS system [NP 4] [TIMEOUT 60])
function(fl_register_test name)
  cmake_parse_arguments(ARG "" "NP;TIMEOUT" "COMMAND;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_test(NAME ${name} COMMAND ${ARG_COMMAND} WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
    SKIP_RETURN_CODE 77 ENVIRONMENT "${FL_TEST_ENVIRONMENT}")
  if(ARG_NP)
    set_tests_properties(${name} PROPERTIES PROCESSORS 2)
  endif()
endfunction()

# Tests start ranks as root in containers and more ranks than cores; Open MPI wants to be told.
set(FL_TEST_ENVIRONMENT
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
  OMPI_MCA_btl_vader_single_copy_mechanism=none)
