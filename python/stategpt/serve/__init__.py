"""The HTTP server of models (`stategpt serve`), and a client of any server with OpenAI's API.

app.py          routes, keys, errors            reading.py     fields to what is asked of a model
worker.py       the thread with the schedulers  answers.py     events to answers and chunks
server.py       socket, limits, shutdown        endpoint.py    another server as a language model
"""
