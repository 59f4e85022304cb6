# cmake -DIN=FILE -DOUT=FILE.c -DNAME=symbol -P HoneText.cmake: a text file as a NUL-terminated array of bytes.
file(READ ${IN} bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "((0x..,){20})" "\\1\n    " bytes "${bytes}")
file(WRITE ${OUT} "extern const char ${NAME}[];\nconst char ${NAME}[] = {\n    ${bytes}0};\n")
