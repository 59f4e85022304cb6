# tests/<layer>/*_test.c: one program each, linked with its layer, those below and cmocka; run by tools/run-tests.
find_package(PkgConfig REQUIRED)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)

# The example of a kernel file as people would compile it.
add_library(example_kernels MODULE ${CMAKE_SOURCE_DIR}/examples/kernels.c)
target_include_directories(example_kernels PRIVATE ${CMAKE_SOURCE_DIR}/include)
set_target_properties(example_kernels PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

set(tests "")
foreach(layer ${HONE_BUILT_LAYERS})
    file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${layer}/*_test.c)
    foreach(file ${files})
        get_filename_component(name ${file} NAME_WE)
        set(target ${layer}_${name})
        add_executable(${target} ${file})
        target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
        target_compile_definitions(${target} PRIVATE HONE_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
            HONE_TEST_CC="${CMAKE_C_COMPILER}" HONE_TEST_KERNELS="$<TARGET_FILE:example_kernels>")
        target_compile_options(${target} PRIVATE -Wno-missing-prototypes)
        target_link_libraries(${target} PRIVATE hone_${layer} PkgConfig::CMOCKA)
        set_target_properties(${target} PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/${layer} OUTPUT_NAME ${name})
        list(APPEND tests ${target})
    endforeach()
endforeach()
add_custom_target(tests DEPENDS ${tests} example_kernels)
