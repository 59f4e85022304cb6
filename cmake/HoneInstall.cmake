# What `make install` copies: the program, the public headers, both libraries (static and shared), pkg-config files,
# a CMake package and the manual pages.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/hone)

file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/include/*.h)
install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
file(GLOB pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/man/*.1)
install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
if(TARGET hone)
    install(TARGETS hone DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# Private packages of the libraries, for who links them statically.
set(HONE_PC_REQUIRES_PRIVATE "jansson, yaml-0.1, libpcre2-8, libutf8proc, libcrypto")
set(HONE_LAB_PC_REQUIRES_PRIVATE "${HONE_PC_REQUIRES_PRIVATE}, libseccomp")
set(HONE_PC_LIBS_PRIVATE "${OpenMP_C_FLAGS} -lm -ldl")
file(RELATIVE_PATH HONE_PC_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" HONE_PC_PREFIX "${HONE_PC_PREFIX}")

function(hone_install_library name requires description)
    if(NOT TARGET lib${name})
        return()
    endif()
    set_target_properties(lib${name}_shared PROPERTIES EXPORT_NAME ${name})
    set_target_properties(lib${name} PROPERTIES EXPORT_NAME ${name}_static)
    install(TARGETS lib${name}_shared EXPORT honeTargets DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(TARGETS lib${name} EXPORT honeStaticTargets DESTINATION ${CMAKE_INSTALL_LIBDIR})
    set(HONE_PC_NAME ${name})
    set(HONE_PC_REQUIRES_PRIVATE "${requires}")
    set(HONE_PC_DESCRIPTION ${description})
    configure_file(${CMAKE_SOURCE_DIR}/cmake/hone.pc.in ${CMAKE_BINARY_DIR}/${name}.pc @ONLY)
    install(FILES ${CMAKE_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()
hone_install_library(hone "${HONE_PC_REQUIRES_PRIVATE}" "Fine-tuning of language models")
hone_install_library(hone_lab "${HONE_LAB_PC_REQUIRES_PRIVATE}"
    "Fine-tuning of language models and its evaluation; use instead of hone, not beside it")

if(TARGET libhone)
    install(TARGETS hone_packages hone_lab_packages EXPORT honeStaticTargets)
    install(EXPORT honeTargets NAMESPACE hone:: DESTINATION ${package_dir})
    install(EXPORT honeStaticTargets NAMESPACE hone:: DESTINATION ${package_dir})
    configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/honeConfig.cmake.in
        ${CMAKE_BINARY_DIR}/honeConfig.cmake INSTALL_DESTINATION ${package_dir})
    write_basic_package_version_file(${CMAKE_BINARY_DIR}/honeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
    install(FILES ${CMAKE_BINARY_DIR}/honeConfig.cmake ${CMAKE_BINARY_DIR}/honeConfigVersion.cmake
        ${CMAKE_SOURCE_DIR}/cmake/HonePackages.cmake DESTINATION ${package_dir})
endif()
