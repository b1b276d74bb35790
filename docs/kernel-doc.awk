# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
# Doxygen's INPUT_FILTER: comments as the kernel writes them, line for line into Doxygen's own.

# A header is a page of its own, see modules.dox.
FNR == 1 {
	page = FILENAME
	gsub(/.*\/|\.h$/, "", page)
	$0 = $0 " /** @addtogroup " page " */ /** @{ */"
}

# The comment behind the licence says what the file is for.
!file_said && /^\/\*/ && !/SPDX/ {
	file_said = 1
	file = FILENAME
	sub(/.*\//, "", file)
	sub(/^\/\*/, "/** @file " file)
}

# A plain comment in front of something documents it, too; one behind it does so with "<".
/^\/\*($| )/ && !/SPDX/ { sub(/^\/\*/, "/**") }
/[^ \t].*[ \t]\/\* .* \*\/$/ { sub(/\/\* /, "/**< ") }

/^\t*\/\*\*/ { in_doc = 1 }

in_doc {
	sub(/^ \* ((struct|enum|union) [A-Za-z_0-9]+|[A-Za-z_0-9]+\(\)) - /, " * \\brief ")
	sub(/^ \* Return: /, " * \\return ")
	if (match($0, /^ \* @[A-Za-z_0-9]+: /))
		$0 = " * \\param " substr($0, 5, RLENGTH - 6) " " substr($0, RLENGTH + 1)
	# Beside a field the name says itself; elsewhere in a text it is a reference.
	sub(/@[A-Za-z_0-9]+: /, "")
	gsub(/@/, "\\p ")
	sub(/\\p file /, "\\file ")
}

/\*\/$/ { in_doc = 0 }

{ print }

END { print "/** @} */" }
