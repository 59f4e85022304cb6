# The program and the small tools.
pkg_check_modules(POPT REQUIRED IMPORTED_TARGET popt)
file(GLOB cli CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/cli/*.c)
if(cli AND TARGET libhone_lab)
    add_executable(hone ${cli})
    target_include_directories(hone PRIVATE ${CMAKE_SOURCE_DIR}/cli)
    target_link_libraries(hone PRIVATE libhone_lab PkgConfig::POPT PkgConfig::JANSSON)
endif()

add_executable(wordnet-jsonl ${CMAKE_SOURCE_DIR}/tools/wordnet-jsonl.c)
target_link_libraries(wordnet-jsonl PRIVATE hone_base)
set_target_properties(wordnet-jsonl PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tools)

# bench/*.c: programs behind the figures of the documents, built by `make bench` alone.
add_custom_target(bench)
list(GET HONE_BUILT_LAYERS 0 top_layer)
file(GLOB benches CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bench/*.c)
foreach(file ${benches})
    get_filename_component(name ${file} NAME_WE)
    add_executable(bench_${name} EXCLUDE_FROM_ALL ${file})
    target_link_libraries(bench_${name} PRIVATE hone_${top_layer})
    set_target_properties(bench_${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench OUTPUT_NAME ${name})
    add_dependencies(bench bench_${name})
endforeach()
