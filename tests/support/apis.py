"""Targets and routes for the tests of provider-compatible APIs (OpenAI's, Anthropic's and others)."""

TARGETS = """
a: {script: [{thought: Hm}, {text: Hello}]}
b: {script: [{text: Half}, {fail: down}]}
c: {script: [{text: Let me look.}, {call: get_weather, arguments: {location: Rome}}]}
d: {script: [{fail: down}]}
"""
MORE = """
  broken: {pipeline: chat, targets: [b], rescue: fail}
  asks: {pipeline: chat, targets: [c]}
  down: {pipeline: chat, targets: [d], retry: {attempts: 1}}
server: {protocol: line}
"""
