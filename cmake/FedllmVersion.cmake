# version.h: version, git commit and build facts, made anew when the commit changes.
set(FL_VERSION_DIR ${CMAKE_CURRENT_BINARY_DIR}/generated)
find_package(Git QUIET)
add_custom_target(fl_version_header
  COMMAND ${CMAKE_COMMAND}
    -D SOURCE=${PROJECT_SOURCE_DIR} -D OUT=${FL_VERSION_DIR}/fedllm_version.h
    -D VERSION=${PROJECT_VERSION} -D GIT=${GIT_EXECUTABLE}
    -P ${PROJECT_SOURCE_DIR}/cmake/WriteVersion.cmake
  BYPRODUCTS ${FL_VERSION_DIR}/fedllm_version.h
  COMMENT "Checking the version")
