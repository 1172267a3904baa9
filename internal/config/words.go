package config

import (
	"errors"
	"strings"
)

// errWords is why a text is not a plain list of words.
var (
	errQuote  = errors.New("a quote is not closed")
	errScript = errors.New("it needs a shell")
)

// SplitWords splits a command line into words by blanks, with '…', "…" and \ as in a shell, and nothing else of a
// shell: a character that would mean more to a shell ($, |, ;, ...) is an error, so that nobody relies on it in vain.
func SplitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote := false, rune(0)
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		c := runes[i]
		switch {
		case quote == '\'' && c != '\'', quote == '"' && c != '"' && c != '\\' && c != '$' && c != '`':
			word.WriteRune(c)
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\':
			if i++; i == len(runes) {
				return nil, errQuote
			}
			if quote == '"' && !strings.ContainsRune("\"\\$`", runes[i]) {
				word.WriteRune('\\')
			}
			word.WriteRune(runes[i])
			inWord = true
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		case strings.ContainsRune("$`|&;<>()*?#!{}[]~", c) && (c != '~' && c != '#' || !inWord):
			return nil, errScript
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errQuote
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// parseCommand reads a command given as one text.
func parseCommand(s string) (Command, error) {
	words, err := SplitWords(s)
	switch {
	case errors.Is(err, errScript):
		return Command{Script: s}, nil
	case err != nil:
		return Command{}, err
	case len(words) == 0:
		return Command{}, errors.New("it is empty")
	}
	return Command{Argv: words}, nil
}
