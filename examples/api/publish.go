// Sends a message to a room as the application, exactly once.
//
//	API=http://127.0.0.1:7080 API_KEY=shd_... go run publish.go ROOM IDEMPOTENCY_KEY TEXT
//
// Needs nothing but Go. The idempotency key is one of the message, such as the number of an order: a
// repeat with the same one gets the first response.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"
)

var client = http.Client{Timeout: 10 * time.Second}

// errUnknown says that the request is to be repeated with its key.
var errUnknown = errors.New("the outcome is unknown, or there is too much to do")

// post sends the request once.
func post(room, idempotencyKey string, message []byte) ([]byte, error) {
	target := os.Getenv("API") + "/v1/rooms/" + url.PathEscape(room) + "/messages"
	request, err := http.NewRequest(http.MethodPost, target, bytes.NewReader(message))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("API_KEY"))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", idempotencyKey)
	response, err := client.Do(request)
	if err != nil {
		return nil, errors.Join(errUnknown, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return nil, errors.Join(errUnknown, err)
	case response.StatusCode == http.StatusOK:
		return body, nil
	case response.StatusCode == http.StatusTooManyRequests, response.StatusCode == http.StatusServiceUnavailable:
		return nil, errors.Join(errUnknown, errors.New(string(body)))
	}
	// All other refusals are certain.
	return nil, errors.New(string(body))
}

// publish returns the place of the message in the room's log.
func publish(room, idempotencyKey, text string) ([]byte, error) {
	message, err := json.Marshal(map[string]string{"content": text})
	if err != nil {
		return nil, err
	}
	for tries := 20; ; time.Sleep(time.Second) {
		tries--
		body, err := post(room, idempotencyKey, message)
		if err == nil || !errors.Is(err, errUnknown) || tries == 0 {
			return body, err
		}
	}
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("give a room, an idempotency key and a text")
	}
	body, err := publish(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(body))
}
